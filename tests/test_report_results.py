"""The form of results.json: what is written, and what is refused."""

from __future__ import annotations

import copy
import enum
import json

import numpy as np
import pytest
from fake_report import fake

from imgbench.errors import InputError
from imgbench.report import results as form


@pytest.fixture(scope="module")
def good():
    return fake(("scenes",), queries=30).results


@pytest.fixture
def results(good):
    return copy.deepcopy(good)


def test_the_keys_are_those_of_the_contract(good):
    assert list(good)[:9] == [
        "schema", "corpus", "encoders", "baseline", "margin", "confidence", "points",
        "encoder_differences", "environment",
    ]  # fmt: skip
    point = set(good["points"][1])
    assert point == {
        "encoder", "index", "params", "key", "run", "quality", "delta", "overlap@10", "latency_ms",
        "throughput_qps", "train_seconds", "add_seconds", "index_bytes", "bytes_per_image",
        "distance_computations_per_query",
    }  # fmt: skip


def test_json_is_the_same_each_time_and_has_no_nan(good, tmp_path):
    form.write(good, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == good
    assert text.startswith('{\n "schema": 1,\n "corpus": {\n  "name": "scenes",')
    assert text.endswith("}\n")


def test_names_that_are_not_unicode_are_written_and_read(results, tmp_path):
    results["corpus"]["name"] = "caf\udce9 \u202e"
    form.write(results, tmp_path / "results.json")
    assert form.read(tmp_path)["corpus"]["name"] == "caf\udce9 \u202e"


def test_numbers_of_numpy_become_numbers_of_python(results):
    results["points"][0]["overlap@10"] = np.float32(0.5)
    results["corpus"]["images"] = np.int64(7)
    found = form.checked(results)
    assert type(found["points"][0]["overlap@10"]) is float
    assert type(found["corpus"]["images"]) is int
    assert type(results["corpus"]["images"]) is np.int64  # what came is left as it was


def test_words_of_an_enum_become_text(results):
    class Verdict(enum.StrEnum):
        HOLDS = "holds"

    results["points"][1]["delta"]["AP@10"]["verdict"] = Verdict.HOLDS
    found = form.checked(results)["points"][1]["delta"]["AP@10"]["verdict"]
    assert (type(found), found) == (str, "holds")


@pytest.mark.parametrize("schema", [2, 0, None, "1", True])
def test_another_schema_is_refused(results, schema):
    results["schema"] = schema
    with pytest.raises(
        InputError,
        match=r"have the schema .*\. This version reads schema 1\. Use the imgbench version that wrote",
    ):
        form.checked(results)


def without(*steps):
    def edit(results):
        place = results
        for step in steps[:-1]:
            place = place[step]
        del place[steps[-1]]

    return edit


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        (("corpus",), "results.corpus"),
        (("corpus", "clusters"), "results.corpus.clusters"),
        (("points", 1, "latency_ms", "p95"), r"results.points\[1\].latency_ms.p95"),
        (("points", 1, "delta", "AP@10", "verdict"), r"results.points\[1\].delta.AP@10.verdict"),
        (("encoders", 0, "name"), r"results.encoders\[0\].name"),
        (("environment", "packages"), "results.environment.packages"),
    ],
)
def test_a_missing_key_is_named(results, steps, named):
    without(*steps)(results)
    with pytest.raises(InputError, match=rf"^{named} is missing\. results\.json has this key\."):
        form.checked(results)


@pytest.mark.parametrize(
    ("steps", "value", "said"),
    [
        (("corpus", "images"), "many", r"results\.corpus\.images is 'many'\. Wanted a whole number\."),
        (("corpus", "images"), True, r"results\.corpus\.images is True\. Wanted a whole number\."),
        (("points",), {}, r"results\.points is {}\. Wanted a list\."),
        (("points", 0), 3, r"results\.points\[0\] is 3\. Wanted an object\."),
        (("points", 0, "params"), [], r"params is \[\]\. Wanted an object\."),
        (("points", 0, "overlap@10"), float("nan"), r"overlap@10 is nan\. Wanted a finite number or null\."),
        (("points", 0, "train_seconds"), float("inf"), r"train_seconds is inf\. Wanted a finite number"),
        (
            ("points", 1, "delta", "AP@10", "verdict"),
            "fine",
            r"'fine'\. Wanted one of holds, degrades, inconclusive",
        ),
        (("encoders", 0, "name"), "another", r"is \['scenes'\]\. Wanted encoders of the list"),
        (("points", 1, "key"), "Flat", r"The point \('scenes', 'Flat'\) is there twice\."),
        (("points", 1, "run"), "runs/0.trec.gz", r"The run file 'runs/0\.trec\.gz' is there twice\."),
    ],
)
def test_a_wrong_value_is_named(results, steps, value, said):
    place = results
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    with pytest.raises(InputError, match=said):
        form.checked(results)


def test_what_was_not_measured_may_be_null_and_unknown_keys_are_kept(results):
    for name in (
        "train_seconds",
        "add_seconds",
        "index_bytes",
        "bytes_per_image",
        "distance_computations_per_query",
    ):
        results["points"][0][name] = None
    results["encoders"][0] |= {"precision": None, "images_per_second": None, "fingerprint": None}
    results["later"] = {"more": [1, None]}
    del results["baseline_drift"], results["corpus"]["notices"], results["corpus"]["cluster_rule"]
    assert form.checked(results)["later"] == {"more": [1, None]}


def test_a_point_needs_its_overlap_and_the_measures_of_the_others(results):
    del results["points"][0]["overlap@10"]
    with pytest.raises(InputError, match=r"results\.points\[0\] has no overlap@k\."):
        form.checked(results)
    results["points"][0]["overlap@100"] = 1.0
    assert form.overlap(form.checked(results)["points"][0]) == (100, 1.0)
    del results["points"][2]["quality"]["AP@10"]
    with pytest.raises(InputError, match=r"results\.points\[2\]\.quality is \['nDCG@10', 'R@10', 'P@10'\]"):
        form.checked(results)


def test_results_are_an_object():
    with pytest.raises(InputError, match=r"^results is \[\]\. Wanted an object\."):
        form.checked([])
