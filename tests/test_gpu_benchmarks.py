"""The scripts of benchmarks/gpu run without a GPU too, on a tiny scale, and say what they found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from imgbench.index import gpu_count

GPU = Path(__file__).parent.parent / "benchmarks" / "gpu"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(GPU)
    yield
    for name in ("encoding", "search", "gpu_loops", "gpu_page", "gpu_ties"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore:.*has random weights")
def test_encoding_says_what_every_side_took(monkeypatch, tmp_path, capsys):
    import encoding

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", TINY)
    encoding.main([
        "--device", "cpu", "--models", "tiny", "--images", "24", "--plain", "8", "--rounds", "2",
        "--workers", "0", "--scenes", "60", "--out", str(tmp_path / "found.json"),
    ])  # fmt: skip
    found = json.loads((tmp_path / "found.json").read_text())
    (model,) = found["models"]
    sides = ["imgbench", "the network alone", "open_clip in a loop, fp32"]
    assert list(model["seconds"]) == sides
    assert [len(spent) for spent in model["seconds"].values()] == [2, 2, 2]
    counts = 24, encoding.READY * model["batch_size"], 8  # images of a round of each side
    for side, count in zip(sides, counts, strict=True):
        assert model["images_per_second"][side] == pytest.approx(count / np.median(model["seconds"][side]))
    assert 0 <= model["stall_share"] <= 1
    assert 0.999 < model["image_cosines"][0] <= model["image_cosines"][1] <= 1 + 1e-6
    assert 0.999 < model["text_cosines"][0] <= model["text_cosines"][1] <= 1 + 1e-6
    assert abs(found["ndcg"]["difference"]["mean"]) < 0.05 < found["ndcg"]["fp32"]
    page = capsys.readouterr().out
    assert "no GPU used: a trial of the script" in page
    assert "| tiny | " in page
    assert page.count("for a GPU |") == 1


def test_the_loop_gives_unit_vectors_of_every_image_in_order(tmp_path):
    import gpu_loops

    torch.manual_seed(0)
    model = open_clip.model.CLIP(**TINY).eval()
    files = [tmp_path / f"{row}.jpg" for row in range(gpu_loops.BATCH + 3)]
    for row, path in enumerate(files):
        Image.new("RGB", (32, 32), (7 * row, 9, 200)).save(path)
    photos = gpu_loops.Photos(files, lambda image: torch.tensor(np.array(image)).permute(2, 0, 1) / 255)
    (call,) = gpu_loops.loops(photos, model, "cpu", 0).values()
    with torch.no_grad():
        rows = model.encode_image(torch.stack([photos[row] for row in range(len(files))]), normalize=True)
    np.testing.assert_allclose(call(), rows.numpy(), atol=1e-6)


def test_drawn_files_stand_in_for_photographs(monkeypatch, tmp_path):
    import gpu_loops

    monkeypatch.setattr(gpu_loops, "FLICKR", tmp_path / "nowhere")
    files, source = gpu_loops.jpegs(tmp_path, 12)
    assert source == "drawn scenes"
    for path in files:
        with Image.open(path) as image:
            assert (image.size, image.format) == ((224, 224), "JPEG")
    assert len({path.read_bytes() for path in files}) == 12


@pytest.mark.data
def test_photographs_are_taken_where_they_are(monkeypatch, tmp_path, data):
    import gpu_loops

    monkeypatch.setattr(gpu_loops, "FLICKR", data / "flickr8k-160" / "images")
    files, source = gpu_loops.jpegs(tmp_path, 3)
    assert (len(files), source) == (3, "photos")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_encoding_without_a_gpu_says_what_to_do():
    import encoding

    with pytest.raises(SystemExit, match="torch sees no CUDA GPU here"):
        encoding.main([])


SMALL = ["--images", "2000", "--queries", "50", "--dim", "32", "--k", "10", "--rounds", "1"]
SPECS = ["gpu:Flat", "gpu:IVF16,Flat?nprobe=1,4", "gpu:OPQ4,IVF16,PQ4?nprobe=2"]


def test_search_compares_every_point_with_its_copy(tmp_path, capsys):
    import search

    search.main([*SMALL, "--on-cpu", "--specs", *SPECS, "--out", str(tmp_path / "found.json")])
    points = json.loads((tmp_path / "found.json").read_text())["points"]
    keys = ["Flat", "IVF16,Flat?nprobe=1", "IVF16,Flat?nprobe=4", "OPQ4,IVF16,PQ4?nprobe=2"]
    assert [point["key"] for point in points] == keys
    assert [(point["wrong"], point["other_ids_at_ties"]) for point in points] == [(0, 0)] * 4
    assert [point["overlap_with_own_build"] for point in points] == [1.0] * 4
    assert capsys.readouterr().out.count("\n| IVF16,Flat?nprobe=") == 2


@pytest.mark.skipif(gpu_count() > 0, reason="FAISS sees a GPU here")
def test_search_without_a_gpu_says_what_to_do():
    import search

    with pytest.raises(SystemExit, match="FAISS sees no GPU here"):
        search.main(SMALL)


def test_search_fails_where_results_differ(monkeypatch):
    import search

    monkeypatch.setattr(search, "differences", lambda *sides: (1, 1, 0.5))
    with pytest.raises(SystemExit, match="NOT EQUAL"):
        search.main([*SMALL, "--on-cpu", "--specs", "gpu:Flat"])


def hits(scores: list[float], rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.float32([scores]), np.array([rows])


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (hits([0.9, 0.5, 0.5], [1, 2, 3]), 0),
        (hits([0.9, 0.5, 0.5], [1, 3, 2]), 0),  # a tie the other way round
        (hits([0.9, 0.5, 0.5], [1, 2, 4]), 0),  # a tie at the cut
        (hits([0.9, 0.50005, 0.5], [1, 3, 2]), 0),  # rounding
        (hits([0.9, 0.5, 0.4], [1, 2, 3]), 1),  # another score
        (hits([0.9, 0.5, 0.5], [4, 2, 3]), 2),  # another best image: one too many, one missing
        (hits([0.9, 0.5, 0.5], [2, 1, 3]), 4),  # two images in the wrong order, on both sides
        (hits([0.9, 0.5, -3e38], [1, 2, -1]), 2),  # one was not found
    ],
)
def test_ties_are_told_from_errors(other, wrong):
    import gpu_ties

    ours = hits([0.9, 0.5, 0.5], [1, 2, 3])
    assert gpu_ties.differences(ours, ours)[0] == 0
    assert gpu_ties.differences(ours, other)[0] == wrong
    assert gpu_ties.differences(other, ours)[0] == wrong


def test_lists_that_tie_at_the_cut_are_found():
    import gpu_ties

    from imgbench.index._faiss import faiss

    index = faiss.index_factory(2, "IVF3,Flat", faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(np.float32([[1, 0], [0, 1], [-1, 0]]))
    queries = np.float32([[1, 1], [1, 0.9]])
    assert gpu_ties.tied_lists(index, queries, 1).tolist() == [True, False]
    assert gpu_ties.tied_lists(index, queries, 2).tolist() == [False, False]
    assert gpu_ties.tied_lists(index, queries, 3).tolist() == [False, False]
    assert gpu_ties.tied_lists(faiss.IndexFlatIP(2), queries, None).tolist() == [False, False]
