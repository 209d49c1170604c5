"""How many random photographs are as hard as 1,324 vehicles, for captions that speak of vehicles?

The hit rates were measured without imgbench (the data's README has them); vectors of a small real encoder.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from photographs import note, ready
from test_flickr8k import VEHICLE

import imgbench as ib
from imgbench.distractors import Reach, curve_of, effective_size
from imgbench.ranks import relevant_ranks

pytestmark = pytest.mark.data

MEASURES = ["Success@10", "nDCG@10", "RR"]


@pytest.fixture(scope="module")
def ranks(data):
    """A function: ranks of vehicle captions in the test gallery, with a pool of these other images."""
    listed = (data / "flickr8k-160" / "vehicle_images.txt").read_text(encoding="utf-8").split()
    shown = {f"flickr8k-160/{file}" for file in listed}
    for path in (data / "distractors-160").glob("*.labels.jsonl"):
        labels = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        shown |= {f"distractors-160/{label['file']}" for label in labels if label["vehicle"]}
    parts = [ready(data, array) for array in ("flickr8k_images", "distractors")]
    lines = [line for part, _ in parts for line in part]
    images = ib.Embeddings([line["file"] for line in lines], np.concatenate([rows for _, rows in parts]))
    captions, vectors = ready(data, "test_captions")
    queries = ib.Embeddings([str(row) for row in range(len(captions))], vectors)
    judged = {
        str(row): {line["file"]: 1}
        for row, line in enumerate(captions)
        if line["file"] in shown and VEHICLE.search(line["caption"])
    }
    test = np.array([line.get("split") == "test" for line in lines])
    of = {
        "test": test,
        "flickr": np.arange(len(lines)) < len(parts[0][0]),
        "vehicle": np.array([line["file"] in shown for line in lines]),
    }

    def call(others):
        chosen = np.flatnonzero(test | others(of))
        return relevant_ranks(images.select(chosen), queries, judged, pool=~test[chosen])

    return call


@pytest.fixture(scope="module")
def hard(ranks):
    """All vehicles that are not Flickr8k's."""
    return ranks(lambda of: of["vehicle"] & ~of["flickr"])


@pytest.fixture(scope="module")
def other(ranks):
    """The curve of the other distractors."""
    return curve_of(ranks(lambda of: ~of["vehicle"] & ~of["flickr"]), MEASURES)


def test_the_closed_form_knows_the_hit_rates(hard, other):
    vehicles = curve_of(hard, MEASURES)
    assert (len(hard), vehicles.images, vehicles.pool_size, other.pool_size) == (358, 2324, 1324, 2264)
    found = [
        vehicles.at(1000, "Success@10").mean,
        vehicles.at(2324, "Success@10").mean,
        other.at(2324, "Success@10").mean,
    ]
    note(vehicle_captions=found)
    assert found == pytest.approx([0.640, 0.411, 0.615], abs=0.0015)
    assert other.at(1000, "Success@10") == vehicles.at(1000, "Success@10")
    assert len(set(other.clusters)) == 84


def test_vehicles_are_harder_than_ten_times_as_many_other_images(hard, other):
    found = effective_size(other.extrapolate(), hard, "Success@10")
    note(vehicles_as_hard_as_others=str(found))
    # All 2,264 others, which is measured, leave most of the difference; eight times as many still do.
    assert effective_size(other, hard, "Success@10").reach is Reach.BEYOND
    assert found.low > 1000 + 10 * 1324


def test_photographs_like_the_gallery_are_harder_than_other_photographs(ranks, hard):
    curve = curve_of(ranks(lambda of: of["flickr"] & ~of["test"] & ~of["vehicle"]), MEASURES)
    found = effective_size(curve.extrapolate(), hard, "nDCG@10")
    note(vehicles_as_hard_as_flickr8k=str(found))
    assert found.reach is Reach.MEASURED
    assert found.distractors == pytest.approx(6308, rel=0.05)
    assert 2 * 1324 < found.low - 1000 < found.high - 1000 < 12 * 1324
