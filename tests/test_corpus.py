"""The corpus: what is wrong is an error or a count, what is equal has an equal fingerprint."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import imgbench as ib
from imgbench import corpora
from imgbench.corpus import Corpus, ImageFiles, ImageItems, Notice, cluster_queries
from imgbench.errors import InputError
from imgbench.qrels import Qrels

IMAGES = {"a": b"1", "b": b"2", "c": b"3"}
QUERIES = {"q1": "red car", "q2": "one red car", "q3": "boat"}
QRELS = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"b": 1}}


def build(**changes) -> Corpus:
    return Corpus.build(**{"name": "toy", "images": IMAGES, "queries": QUERIES, "qrels": QRELS, **changes})


def test_a_clean_corpus_has_no_notices():
    corpus = build(source="here", licence="CC0")
    assert corpus.notices == ()
    assert repr(corpus) == "Corpus('toy': 3 images, 3 queries in 2 clusters, 3 judgements)"
    assert (corpus.source, corpus.licence) == ("here", "CC0")
    assert list(corpus.images) == [b"1", b"2", b"3"]


def test_missing_images_stay_in_the_judgements_and_are_counted():
    corpus = build(qrels={**QRELS, "q3": {"gone.jpg": 1, "b": 0}})
    assert corpus.qrels.to_dict()["q3"] == {"gone.jpg": 1, "b": 0}
    assert (corpus.missing_images, build().missing_images) == (1, 0)
    assert [str(notice) for notice in corpus.notices] == [
        "missing images: 1, judged but not in the corpus, so never found (gone.jpg)."
    ]


def test_queries_without_judgement_or_relevant_image_are_counted():
    corpus = build(qrels={"q1": {"a": 1}, "q2": {"a": 0}})
    assert {notice.kind: (notice.count, notice.examples) for notice in corpus.notices} == {
        "queries without judgement": (1, ("q3",)),
        "queries without a relevant image": (1, ("q2",)),
    }


def test_a_notice_keeps_a_few_examples():
    notice = Notice.of("odd names", [f"{number}" for number in range(1200)])
    assert str(notice) == "odd names: 1,200 (0, 1, 2, 3, 4, ...)."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": {**QUERIES, "q3": "  "}}, "1 queries have an empty text ('q3'). A query is a text. "),
        (
            {"queries": (["q1", "q1"], ["x", "y"]), "qrels": {"q1": {"a": 1}}},
            "1 query ids come more than once ('q1')",
        ),
        (
            {"images": (["a", "a"], ImageItems([b"1", b"2"]))},
            "1 image ids come more than once ('a'). An id names one",
        ),
        (
            {"images": (["a"], ImageItems([b"1", b"2"]))},
            "Corpus 'toy' has 2 images for image ids, of which there are 1",
        ),
        ({"queries": (["q1"], ["x", "y"])}, "has 2 texts for query ids, of which there are 1"),
        ({"images": {"a": b"1", "": b"2"}}, "The id of image 2 is empty."),
        ({"images": {}}, "There are no images."),
        ({"queries": {}}, "There are no queries."),
        ({"qrels": {**QRELS, "q9": {"a": 1}}}, "1 judged queries are not among the queries ('q9')."),
        (
            {"qrels": {"q1": {"x.jpg": 1}}},
            "None of the 1 judged images is in the corpus ('x.jpg' is judged, 'a' is",
        ),
        ({"clusters": {"q1": "x"}}, "2 queries have no cluster label ('q2', 'q3')."),
        ({"clusters": ["x"]}, "has 1 cluster numbers for query ids, of which there are 3"),
    ],
)
def test_what_contradicts_itself_is_an_error(changes, message):
    with pytest.raises(InputError) as caught:
        build(**changes)
    assert message in str(caught.value)


def test_clusters_by_the_rule():
    judged = {
        "q1": {"a": 1},
        "q2": {"b": 1},
        "q3": {"a": 2, "b": 0},  # the grade of 0 is not relevant: a is its single image
        "q4": {"a": 1, "b": 1},
        "q5": {"a": 1, "b": 1},  # several images: its own, even with the same ones
        "q6": {"a": 0},
    }
    queries = ["q2", *judged, "unjudged"]
    numbers, rule = cluster_queries(queries[1:], Qrels.from_dict(judged))
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [0, 1, 0, 2, 3, 4, 5]
    assert (
        rule
        == "Queries whose single relevant image is the same form a cluster; every other query is its own."
    )


def test_clusters_do_not_depend_on_the_order_of_the_judgements():
    qrels = Qrels.from_rows(["q3", "q1", "q2"], ["b", "a", "a"], [1, 1, 1])
    assert cluster_queries(["q1", "q2", "q3"], qrels)[0].tolist() == [0, 0, 1]


def test_clusters_by_label():
    by_id = build(clusters={"q3": "x", "q2": "y", "q1": "x"})
    assert by_id.clusters.tolist() == [0, 1, 0]
    assert by_id.cluster_count == 2
    assert by_id.cluster_rule == "Queries with the same cluster label form a cluster."
    assert build(clusters=["s", "t", "s"], cluster_rule="By scene.").cluster_rule == "By scene."


def test_fingerprint_changes_with_everything_that_counts_and_with_nothing_else():
    fingerprint = build().fingerprint
    assert build(name="other", source="elsewhere").fingerprint == fingerprint
    changes = [
        {"images": {**IMAGES, "c": b"4"}},
        {"images": {"a": b"1", "b": b"2", "d": b"3"}},
        {"queries": {**QUERIES, "q1": "red cars"}},
        {"qrels": {**QRELS, "q1": {"a": 2}}},
        {"clusters": ["x", "y", "z"]},
    ]
    prints = {build(**change).fingerprint for change in changes}
    assert len(prints) == len(changes)
    assert fingerprint not in prints


def test_content_decides_the_digest_not_names_or_kinds(tmp_path):
    for name, content in {"x.jpg": b"1", "y.jpg": b"2", "z.jpg": b"2"}.items():
        (tmp_path / name).write_bytes(content)
    digest = ImageFiles([tmp_path / "x.jpg", tmp_path / "y.jpg"]).digest()
    assert ImageFiles([tmp_path / "x.jpg", tmp_path / "z.jpg"]).digest() == digest
    assert ImageItems([b"1", str(tmp_path / "z.jpg")]).digest() == digest
    assert ImageFiles([tmp_path / "y.jpg", tmp_path / "x.jpg"]).digest() != digest
    assert ImageFiles([tmp_path / "x.jpg", tmp_path / "gone.jpg"]).digest() != digest


def test_digest_of_decoded_images_is_of_their_pixels():
    red, blue = Image.new("RGB", (2, 1), "red"), Image.new("RGB", (2, 1), "blue")
    assert ImageItems([red]).digest() == ImageItems([red.copy()]).digest()
    assert len({ImageItems([image]).digest() for image in (red, blue, red.resize((1, 2)))}) == 3
    one, other = Image.new("P", (2, 2)), Image.new("P", (2, 2))
    one.putpalette([255, 0, 0])
    other.putpalette([0, 0, 255])
    assert one.tobytes() == other.tobytes()
    assert ImageItems([one]).digest() != ImageItems([other]).digest()


def test_a_mapping_of_paths_stays_paths(tmp_path):
    paths = {name: tmp_path / name for name in IMAGES}
    assert isinstance(build(images=paths).images, ImageFiles)


def test_part_is_lazy_and_keeps_its_order():
    class Counting(ImageItems):
        fetched = 0

        def __getitem__(self, row):
            self.fetched += 1
            return super().__getitem__(row)

    whole = Counting([b"0", b"1", b"2", b"3"])
    part = whole.part(range(1, 3))
    assert (len(part), whole.fetched) == (2, 0)
    assert list(part) == [b"1", b"2"]
    assert whole.fetched == 2


def test_every_family_has_its_loader():
    for family in corpora.FAMILIES:
        assert callable(corpora._loader(family))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scens", "'scens' is not a corpus, nor a folder that exists. Known: scenes. Did you mean 'scenes'?"),
        (
            "./nowhere",
            "'./nowhere' is not a corpus, nor a folder that exists. Known: captions:PATH,",
        ),
        ("foldr:x", "Did you mean 'folder:PATH'?"),
        (
            "hub:some/thing@main",
            "which imgbench cannot load yet. Wanted a folder, captions.jsonl or 'scenes'.",
        ),
        ("folder", "The corpus 'folder' came without a path. Wanted 'folder:PATH'."),
        (
            "folder:.?follow=true",
            "'follow' is not an option of the corpus 'folder'. Known: follow_links, path.",
        ),
    ],
)
def test_unknown_names_and_options(spec, message):
    with pytest.raises(InputError) as caught:
        ib.Corpus.load(spec)
    assert message in str(caught.value)


def test_a_file_is_no_corpus(tmp_path):
    (tmp_path / "queries.csv").touch()
    with pytest.raises(
        InputError, match=r"queries\.csv is a file\. A corpus is a folder or a captions \.jsonl file\."
    ):
        Corpus.load(tmp_path / "queries.csv")


def test_arguments_after_the_name_reach_the_loader(monkeypatch):
    calls = []

    def loader(size=1, *, seed=0, name=""):
        calls.append((size, seed, name))
        return build()

    monkeypatch.setattr(corpora, "_loader", lambda family: loader)
    Corpus.load("scenes")
    Corpus.load("scenes:20000")
    Corpus.load("scenes:20000?seed=3&name=x")
    Corpus.load("scenes?seed=3", seed=4)
    assert calls == [(1, 0, ""), (20000, 0, ""), (20000, 3, "x"), (1, 4, "")]


def test_entry_points_add_names(monkeypatch):
    class Entry:
        name = "mine"

        @staticmethod
        def load():
            return lambda: build(name="from an entry point")

    monkeypatch.setattr(corpora, "entry_points", lambda group: [Entry] if group == "imgbench.corpora" else [])
    assert Corpus.load("mine").name == "from an entry point"
