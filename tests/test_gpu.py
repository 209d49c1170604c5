"""What must hold on a machine with a CUDA GPU; each is skipped, with the reason, on any other.

pytest -m gpu -rs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgbench import Corpus, Embeddings, Encoder, Evaluator, benchmark, funnel
from imgbench.encoders import batching
from imgbench.index import Index, gpu_count
from imgbench.index.gpu import on_gpu, to_cpu
from imgbench.points import Protocol

BENCHMARKS = Path(__file__).parent.parent / "benchmarks" / "gpu"
CAPTIONS = [f"a photo of {count} {what} beside a lake" for count in range(2, 12) for what in ("dogs", "cars")]
SPECS = {
    "Flat": {},
    "IVF16,Flat": {"nprobe": 4},
    "IVF16,SQfp16": {"nprobe": 4},
    "IVF16,SQ8": {"nprobe": 4},
    "IVF16,PQ8": {"nprobe": 4},
    "OPQ8,IVF16,PQ8": {"nprobe": 4},
    "PCA16,IVF16,Flat": {"nprobe": 16},
}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*has random weights"),
]
torch_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU here")
faiss_gpu = pytest.mark.skipif(gpu_count() == 0, reason="FAISS sees no GPU here")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return list(Corpus.load("scenes:200").images)


@pytest.fixture(scope="module", params=["scenes", "open_clip:ViT-B-32/random", "open_clip:RN50/random"])
def both(request: pytest.FixtureRequest) -> tuple[Encoder, Encoder]:
    """An encoder on the GPU, and the same in fp32 on the CPU."""
    return Encoder.load(request.param), Encoder.load(request.param, device="cpu", precision="fp32")


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", first, second, dtype=np.float64)


@torch_gpu
def test_fp16_is_close_to_fp32(both: tuple[Encoder, Encoder], pictures: list[Image.Image]) -> None:
    half, full = both
    assert (half.device, str(half.precision)) == ("cuda", "fp16")
    few = pictures[:40]
    assert cosines(half.encode_images(few), full.encode_images(few)).min() > 0.999
    assert cosines(half.encode_texts(CAPTIONS), full.encode_texts(CAPTIONS)).min() > 0.999


@torch_gpu
def test_fp32_on_a_gpu_gives_the_vectors_of_the_cpu(pictures: list[Image.Image]) -> None:
    gpu, cpu = (Encoder.load("scenes", device=device, precision="fp32") for device in ("cuda", "cpu"))
    assert cosines(gpu.encode_images(pictures), cpu.encode_images(pictures)).min() > 0.999999
    assert cosines(gpu.encode_texts(CAPTIONS), cpu.encode_texts(CAPTIONS)).min() > 0.999999


@torch_gpu
def test_the_numbered_device_is_the_same(pictures: list[Image.Image]) -> None:
    plain, numbered = (Encoder.load("scenes", device=device) for device in ("cuda", "cuda:0"))
    assert cosines(plain.encode_images(pictures), numbered.encode_images(pictures)).min() > 0.99999


@torch_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_the_batch_is_found_and_changes_no_vector_beyond_rounding(
    device: str, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = Encoder.load("open_clip:ViT-B-32/random", device=device, batch_size=7).encode_images(pictures)
    monkeypatch.setattr(batching, "TRIAL", 1)
    monkeypatch.setattr("imgbench.encoders.open_clip.OpenClipEncoder.batch_sizes", {"cpu": 16, "cuda": 4})
    encoder = Encoder.load("open_clip:ViT-B-32/random", device=device)
    assert encoder.batch_size == 4
    vectors = encoder.encode_images(pictures)
    assert encoder.batch_size in {4 * 2**power for power in range(1, 10)}  # four images fill no GPU
    assert cosines(vectors, fixed).min() > 0.9999


@torch_gpu
def test_many_batches_in_flight_keep_their_order(pictures: list[Image.Image]) -> None:
    """What is copied to and from pinned memory, which is used again and again, is never mixed up."""
    many = [pictures[row % len(pictures)] for row in np.random.default_rng(0).permutation(3000)]
    encoder = Encoder.load("scenes", batch_size=16)
    once = encoder.encode_images(pictures)
    rows = np.random.default_rng(0).permutation(3000) % len(pictures)
    assert cosines(encoder.encode_images(many), once[rows]).min() > 0.9999


@torch_gpu
def test_what_does_not_fit_is_encoded_in_halves(
    pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder.load("scenes", batch_size=64)
    whole, images = encoder.encode_images(pictures), encoder._images

    def small(batch: list) -> torch.Tensor:
        if len(batch) > 10:
            raise torch.OutOfMemoryError
        return images(batch)

    monkeypatch.setattr(encoder, "_images", small)
    assert cosines(encoder.encode_images(pictures), whole).min() > 0.9999


@torch_gpu
def test_a_forward_pass_takes_time_on_the_gpu() -> None:
    square = torch.randn(4096, 4096, device="cuda")
    seconds = batching.cuda_seconds(lambda: square @ square, "cuda")
    assert 2 * 4096**3 / seconds < 1e16  # no GPU does that many operations a second: it waited for the end


@torch_gpu
@pytest.mark.parametrize("spec", ["scenes", "open_clip:ViT-B-32/random", "open_clip:RN50/random"])
@pytest.mark.parametrize("precision", ["fp16", "fp32", "bf16"])
def test_texts_without_their_padding_are_those_of_the_plain_tower(spec: str, precision: str) -> None:
    encoder = Encoder.load(spec, device="cuda", precision=precision)
    assert encoder._shortcut is not None  # it is in use
    with torch.inference_mode():
        plain = encoder._model.encode_text(encoder._tokenizer(CAPTIONS).to("cuda")).float().cpu()
    expected = torch.nn.functional.normalize(plain, dim=-1).numpy()
    vectors = encoder.encode_texts(CAPTIONS)
    assert cosines(vectors, expected).min() > {"fp16": 0.9999, "fp32": 0.999999, "bf16": 0.999}[precision]
    if precision == "fp32":
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


@torch_gpu
def test_fp16_moves_ndcg_by_little(tmp_path: Path) -> None:
    report = benchmark(
        "scenes:400",
        ["scenes?precision=fp16&device=cuda", "scenes?precision=fp32&device=cuda"],
        indexes="Flat",
        measures=["nDCG@10"],
        protocol=Protocol(latency_calls=5, throughput_repeats=1),
        cache=tmp_path,
    )
    (difference,) = report.results["encoder_differences"]
    assert abs(difference["mean"]) < 0.005


def vectors(images: int = 4000, queries: int = 300, dim: int = 32) -> tuple[Embeddings, Embeddings]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, dim))[rng.integers(0, 50, images)] + 0.7 * rng.normal(size=(images, dim))
    asked = rows[:queries] + 0.5 * rng.normal(size=(queries, dim))
    named = [f"{row}.jpg" for row in range(images)], [f"q{row}" for row in range(queries)]
    return Embeddings.normalised(named[0], rows), Embeddings.normalised(named[1], asked)


@faiss_gpu
@pytest.mark.parametrize("spec", SPECS)
def test_a_gpu_finds_what_the_same_index_finds_on_the_cpu(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_ties

    images, queries = vectors()
    index = Index.build(f"gpu:{spec}", images)
    assert on_gpu(index._faiss)
    copied = Index.wrap(images.ids, to_cpu(index._faiss))
    gpu, cpu = (each.search(queries, k=20, **SPECS[spec]) for each in (index, copied))
    sure = ~gpu_ties.tied_lists(copied._faiss, queries.float32(), SPECS[spec].get("nprobe"))
    assert sure.mean() > 0.9
    wrong, _, _ = gpu_ties.differences(*((run.scores[sure], run.rows[sure]) for run in (gpu, cpu)))
    assert wrong == 0


@faiss_gpu
@pytest.mark.parametrize("spec", SPECS)
def test_an_index_of_the_gpu_is_saved_and_loaded(spec: str, tmp_path: Path) -> None:
    images, queries = vectors()
    index = Index.build(f"gpu:{spec}", images)
    index.save(tmp_path / "an.index")
    loaded = Index.load(tmp_path / "an.index")
    assert on_gpu(loaded._faiss)
    assert (loaded.spec, loaded.exact) == (f"gpu:{spec}", spec == "Flat")
    first, second = (each.search(queries, k=5, **SPECS[spec]) for each in (index, loaded))
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)


@faiss_gpu
def test_a_benchmark_has_points_on_the_gpu_and_their_funnels(tmp_path: Path) -> None:
    report = benchmark(
        "scenes:400",
        "scenes",
        indexes=["gpu:Flat", "gpu:IVF8,Flat?nprobe=1,8", "gpu:IVF8,SQ8?nprobe=8"],
        funnel=True,
        protocol=Protocol(latency_calls=5, throughput_repeats=1),
        cache=tmp_path,
    )
    points = {point["key"]: point for point in report.results["points"]}
    assert next(iter(points)) == "Flat"
    for key in ("gpu:Flat", "gpu:IVF8,Flat?nprobe=8"):  # nothing is lost
        assert points[key]["overlap@10"] > 0.999
        assert abs(points[key]["delta"]["nDCG@10"]["mean"]) < 1e-3
    assert points["gpu:IVF8,Flat?nprobe=1"]["overlap@10"] < 0.999
    assert report.results["environment"]["gpu"]
    assert json.loads((report.save(tmp_path / "out") / "results.json").read_text())["points"]


@faiss_gpu
def test_the_steps_of_a_funnel_add_up_on_the_gpu() -> None:
    images, queries = vectors()
    judge = Evaluator({f"q{row}": {f"{row}.jpg": 1} for row in range(len(queries))}, "Success@1")
    found = funnel("gpu:IVF16,SQ8?nprobe=2", images, queries, judge)
    assert [step.name for step in found.steps] == ["fp32", "quantiser (SQ8)", "search (nprobe=2)"]


@torch_gpu
@faiss_gpu
def test_the_memory_that_torch_keeps_is_there_for_faiss() -> None:
    """A program that has encoded holds freed memory: an index gets it."""
    kept = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    del kept
    assert torch.cuda.memory_reserved() >= 2**30
    Index.build("gpu:Flat", vectors()[0])
    assert torch.cuda.memory_reserved() < 2**30


@torch_gpu
def test_the_script_of_the_encoding_figures_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import encoding

    arguments = "--models ViT-B-32 --images 64 --plain 32 --rounds 1 --workers 0 --scenes 60 --out"
    encoding.main([*arguments.split(), str(tmp_path / "found.json")])
    (model,) = json.loads((tmp_path / "found.json").read_text())["models"]
    assert model["image_cosines"][0] > 0.999
    assert "3 times the loops: " in capsys.readouterr().out
    for name in ("encoding", "gpu_loops", "gpu_page"):
        sys.modules.pop(name, None)
