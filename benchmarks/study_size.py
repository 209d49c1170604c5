"""One `imgbench run` at the size of a real study: how long it takes, where, and how much memory.

    python benchmarks/study_size.py --folder study

makes 68,154 image vectors of 1024 dimensions and 10,725 queries (five for each of 2,145 images), as files,
and compares exact search with eleven points of three families. It prints what was spent outside of
searching, training and adding (FAISS's own calls and, in exact search, imgbench's own product where it is
faster; the repetitions of timing are such calls too), and how often the run takes the bare
sum: for each point one FAISS call that searches all queries, plus training and adding, as the same run timed
them. Both for the whole process and for `imgbench.benchmark` in it, which ends before files are written and
begins after the libraries are imported. Nothing comes from a cache. The vectors are clustered like a photo
library's; a query is its image plus much noise, so that exact search finds about half of what it should.
They are made: their quality says nothing about a real encoder, the times and the memory do.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DIM, CLUSTERS, CAPTIONS = 1024, 500, 5
SPREAD = 0.8  # of an image around the centre of its cluster, whose length is 1
NOISE = 2.5, 5.0  # of a query around its image, whose length is 1; each query draws its own
CHUNK = 4096
INDEXES = (
    "IVF512,Flat?nprobe=1,4,8,16,32",
    "HNSW32?efSearch=16,32,64,128",
    "IVF512,SQ8?nprobe=8,32",
)
AROUND = ("import libraries", "load encoders or vectors", "print the table", "save")
LEAST = 0.2  # seconds of a stage that is shown


def main() -> None:
    options = _options()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    make(folder, images=options.images, photos=options.photos, seed=options.seed)
    print(f"made {options.images:,} x {DIM} in {time.perf_counter() - start:.1f} s", flush=True)
    start = time.perf_counter()
    subprocess.run(command(folder, options.threads), check=True)  # noqa: S603  our own command
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # Linux counts KiB
    print(f"\nwall time {seconds:.1f} s, peak memory {peak:.2f} GiB, {options.threads} threads")
    results = json.loads((folder / "out" / "results.json").read_text(encoding="utf-8"))
    bare = _bare(results["points"])
    profile = results["profile"]
    around = sum(stage["seconds"] for stage in profile["stages"] if stage["stage"] in AROUND)
    tell("the process", seconds, profile["faiss_seconds"], bare)
    tell("imgbench.benchmark", profile["seconds"] - around, profile["faiss_seconds"], bare)
    for stage in profile["stages"]:
        out = stage["seconds"] - stage["faiss_seconds"]
        if stage["seconds"] > LEAST:
            print(f"    {stage['stage']:32} {stage['seconds']:7.2f} s, outside of these {out:6.2f} s")


def tell(what: str, seconds: float, faiss: float, bare: float) -> None:
    """The share outside of searching, training and adding, and the time beside the bare sum."""
    outside = seconds - faiss
    print(
        f"{what}: {seconds:.1f} s, {outside:.1f} s ({outside / seconds:.1%}) outside of searching, training "
        f"and adding, {seconds / bare:.2f} times the bare sum of {bare:.1f} s"
    )


def _bare(points: list[dict[str, Any]]) -> float:
    """One search of all queries for each point, in one call, and each index trained and filled once."""
    searches = sum(point["throughput_qps"]["batch"] / point["throughput_qps"]["value"] for point in points)
    built = {point["index"]: point["train_seconds"] + point["add_seconds"] for point in points}
    print("training and adding:", ", ".join(f"{name} {spent:.1f} s" for name, spent in built.items()))
    return searches + sum(built.values())


def command(folder: Path, threads: int) -> list[str]:
    """What a user with these files would type."""
    files = [f"--{name}={folder / file}" for name, file in FILES.items()]
    indexes = [f"--index={index}" for index in INDEXES]
    out = [f"--out={folder / 'out'}", f"--threads={threads}", f"--cache={tempfile.mkdtemp(dir=folder)}"]
    return [sys.executable, "-m", "imgbench.cli", "run", *files, *indexes, *out]


FILES = {"images": "images.npy", "queries": "queries.npy", "qrels": "qrels.csv"}


def make(folder: Path, *, images: int, photos: int, seed: int) -> None:
    """Vectors, ids and judgements. The photos that are asked for stand first among the images."""
    rng = np.random.default_rng(seed)
    centres = _unit(_noise(rng, CLUSTERS))
    gallery = _open(folder / FILES["images"], images)
    for rows in _chunks(images):
        near = SPREAD * _noise(rng, len(rows))
        gallery[rows.start : rows.stop] = _unit(centres[rng.integers(CLUSTERS, size=len(rows))] + near)
    asked = _open(folder / FILES["queries"], CAPTIONS * photos)
    for rows in _chunks(CAPTIONS * photos):
        photo = gallery[np.array(rows) // CAPTIONS].astype(np.float32)
        loud = rng.uniform(*NOISE, (len(rows), 1)).astype(np.float32)
        asked[rows.start : rows.stop] = _unit(photo + loud * _noise(rng, len(rows)))
    names = [f"image_{row:06d}.jpg" for row in range(images)]
    queries = [
        f"image_{row // CAPTIONS:06d}_caption_{row % CAPTIONS:02d}" for row in range(CAPTIONS * photos)
    ]
    (folder / "images.ids.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "queries.ids.txt").write_text("\n".join(queries) + "\n", encoding="utf-8")
    with (folder / FILES["qrels"]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query_id", "document_id", "relevance"])
        writer.writerows((query, names[row // CAPTIONS], 1) for row, query in enumerate(queries))


def _open(path: Path, rows: int) -> np.memmap:
    return np.lib.format.open_memmap(path, "w+", dtype=np.float16, shape=(rows, DIM))


def _chunks(rows: int) -> list[range]:
    return [range(start, min(start + CHUNK, rows)) for start in range(0, rows, CHUNK)]


def _noise(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Vectors whose length is about 1; as in real embeddings, a few dimensions carry most of it."""
    weights = (1 + np.arange(DIM) / 16) ** -0.5
    weights /= np.linalg.norm(weights)
    return rng.standard_normal((rows, DIM), dtype=np.float32) * weights.astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("study"), help="takes 160 MB of vectors and out/")
    parser.add_argument("--images", type=int, default=68_154)
    parser.add_argument("--photos", type=int, default=2_145, help="images with five queries each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
