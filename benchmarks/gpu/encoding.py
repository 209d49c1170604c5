"""How fast images become vectors on a GPU, beside the network alone and the loops that people write.

    python benchmarks/gpu/encoding.py --out gpu_encoding.json

encodes JPEG files of 224 pixels with ViT-B-32, ViT-L-14 and ViT-H-14 (random weights) in fp16, prints a
table in Markdown and writes all figures as JSON. Every side runs once untimed, where imgbench finds its batch
size, then all in turn; rates are medians. The network alone has fp16 tensors in the GPU's memory, in batches
of the size that imgbench found. The loops run in fp32 with open_clip's preprocessing, on the first images
only (--plain).

Beside the rates stand the share of the time in which imgbench waited for decoded images (an upper bound of
what that cost: the GPU may have computed meanwhile), and what fp16 changes: cosines with the loop's fp32
vectors, and the paired difference in nDCG@10 of the encoder `scenes`, whose weights are trained.

`--device cpu --models RN50 --images 32 --plain 16 --workers 0` tries the script without a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from gpu_loops import Photos, jpegs, loops, plain
from gpu_page import page

import imgbench as ib
from imgbench import environment, stopwatch
from imgbench.encoders.base import Encoder
from imgbench.encoders.images import decode
from imgbench.points import Protocol

MODELS = ("ViT-B-32", "ViT-L-14", "ViT-H-14")
OURS, ALONE = "imgbench", "the network alone"
READY = 4  # batches of the network alone: other pixels each time, in little memory
TEXTS = tuple(f"a photo of {count} {what}" for count in range(2, 18) for what in ("dogs", "red cars"))


@dataclass(frozen=True)
class Setting:
    """What is measured, and where."""

    device: str
    precision: str
    rounds: int
    workers: int
    files: list[Path]
    few: int  # images of the loops


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    on_gpu = options.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA GPU here. Try the script with --device cpu --models RN50 --images 32.")
    warnings.filterwarnings("ignore", message=".*has random weights")
    precision = "fp16" if on_gpu else "bf16"
    with tempfile.TemporaryDirectory() as folder:
        files, source = jpegs(Path(folder), options.images)
        few = min(options.plain, len(files))
        setting = Setting(options.device, precision, options.rounds, options.workers, files, few)
        models = [measured(name, setting) for name in options.models]
    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.describe(),
        "command": " ".join(["python benchmarks/gpu/encoding.py", *(arguments or sys.argv[1:])]),
        "images": f"{len(files):,} {source}, JPEG, 224 px; the loops {few:,} of them",
        "device": options.device,
        "precision": precision,
        "rounds": options.rounds,
        "models": models,
        "ndcg": trained(setting, options.scenes),
    }
    if options.out:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(page(found))


def measured(name: str, setting: Setting) -> dict[str, Any]:
    """One model: seconds of every side and round, the batch, the stalls, the parity with fp32."""
    encoder = Encoder.load(f"open_clip:{name}/random", device=setting.device, precision=setting.precision)
    network, preprocess = plain(name, setting.device)
    photos = Photos(setting.files[: setting.few], preprocess)
    encoder.encode_images(setting.files)  # finds the batch
    cosine = cosines(encoder, network, photos, open_clip.get_tokenizer(name))
    stalls: list[float] = []
    sides: dict[str, tuple[int, Callable[[], object]]] = {
        OURS: (len(setting.files), lambda: stalls.append(stalled(encoder, setting.files))),
        ALONE: alone(encoder, setting.files),
    }
    for side, call in loops(photos, network, setting.device, setting.workers).items():
        sides[side] = len(photos), call
    seconds = in_turn(sides, setting)
    return {
        "model": name,
        "batch_size": encoder.batch_size,
        "seconds": seconds,
        "images_per_second": {side: sides[side][0] / statistics.median(seconds[side]) for side in sides},
        "stall_share": statistics.median(stalls[1:]),  # without the round that is not timed
        **cosine,
    }


def in_turn(sides: dict[str, tuple[int, Callable[[], object]]], setting: Setting) -> dict[str, list[float]]:
    """Seconds of each side in every round but the first, which warms up; the GPU's own work included."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(setting.rounds + 1):
        for side, (_, call) in sides.items():
            start = time.perf_counter()
            call()
            if setting.device.startswith("cuda"):
                torch.cuda.synchronize(setting.device)
            seconds[side].append(time.perf_counter() - start)
    return {side: spent[1:] for side, spent in seconds.items()}


def stalled(encoder: Encoder, files: list[Path]) -> float:
    """Encodes the files; gives the share of the time that was spent waiting for decoded images."""
    with stopwatch.running() as watch:
        encoder.encode_images(files)
    (stage,) = (each for each in watch.to_dict()["stages"] if each["stage"] == "encode")
    return stage["waited"] / stage["seconds"]


def alone(encoder: Any, files: list[Path]) -> tuple[int, Callable[[], object]]:
    """The forward pass over a few batches that lie on the device, as imgbench hands them over."""
    size = encoder.batch_size
    with torch.inference_mode():
        prepared = [encoder._prepare(decode(files[row % len(files)])) for row in range(READY * size)]  # noqa: SLF001
        ready = [encoder._batch(prepared[at : at + size]) for at in range(0, READY * size, size)]  # noqa: SLF001

    @torch.inference_mode()
    def call() -> object:
        return [encoder._model.encode_image(batch) for batch in ready]  # noqa: SLF001

    return READY * size, call


@torch.no_grad()
def cosines(encoder: Encoder, network: Any, photos: Photos, tokenizer: Any) -> dict[str, list[float]]:
    """Least and mean cosine of imgbench's vectors with those of the fp32 network in a loop."""
    (_, by_loop), *_ = loops(photos, network, encoder.device, 0).items()
    tokens = tokenizer(list(TEXTS)).to(encoder.device)
    texts = torch.nn.functional.normalize(network.encode_text(tokens).float(), dim=-1).cpu().numpy()
    pairs = {
        "image_cosines": (encoder.encode_images(photos.files), by_loop()),
        "text_cosines": (encoder.encode_texts(TEXTS), texts),
    }
    found = {name: np.einsum("nd,nd->n", *both, dtype=np.float64) for name, both in pairs.items()}
    return {name: [float(each.min()), float(each.mean())] for name, each in found.items()}


def trained(setting: Setting, size: int) -> dict[str, Any]:
    """nDCG@10 of the encoder `scenes` in fp32, and the paired difference of the low precision from it."""
    names = [f"scenes?precision={kind}&device={setting.device}" for kind in (setting.precision, "fp32")]
    quick = Protocol(latency_calls=10, throughput_repeats=1)
    report = ib.benchmark(
        f"scenes:{size}", names, indexes="Flat", measures=["nDCG@10"], cache=None, protocol=quick
    )
    (difference,) = report.results["encoder_differences"]
    exact = next(point for point in report.results["points"] if point["encoder"] == names[1])
    told = {name: difference[name] for name in ("mean", "low", "high")}
    return {"images": size, "fp32": exact["quality"]["nDCG@10"]["mean"], "difference": told}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script")
    parser.add_argument("--models", nargs="+", default=MODELS, help="open_clip's names")
    parser.add_argument("--images", type=int, default=8192, help="of imgbench (8192: the batch may grow)")
    parser.add_argument("--plain", type=int, default=1024, help="images of the loops, which are slower")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of every side")
    parser.add_argument("--workers", type=int, default=environment.cores(), help="of the DataLoader; 0: none")
    parser.add_argument("--scenes", type=int, default=2000, help="drawn images of the nDCG difference")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
