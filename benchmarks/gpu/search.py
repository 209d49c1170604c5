"""FAISS's searches on the GPU beside the same indexes on the CPU: equal up to ties, and how fast.

    python benchmarks/gpu/search.py --out gpu_search.json

Each `gpu:` index is built on the GPU, copied to the CPU, and both search the same queries to the same depth,
so that only the search differs: centroids and codes are the same bytes. Equal up to ties means: the scores at
each rank lie within 1e-4 of each other, and where the ids at a rank differ, each of the two images has on the
other side a score within 1e-4 of its own, or was cut off there behind such a score. Lists tie too: a query
whose last probed and first unprobed list score the same but for rounding may probe the one or the other, and
is counted apart. Beside it stands how much of the first ten hits an index shares that was built on the CPU
from the start: its k-means ends elsewhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from gpu_ties import TOLERANCE, differences, tied_lists

from imgbench import environment
from imgbench.embeddings import Embeddings
from imgbench.index import Index, IndexSpec, compile_options, gpu_count
from imgbench.index.gpu import to_cpu
from imgbench.run import Run

SPECS = (
    "gpu:Flat", "gpu:IVF1024,Flat?nprobe=1,16,64", "gpu:IVF1024,SQfp16?nprobe=16",
    "gpu:IVF1024,SQ8?nprobe=16", "gpu:IVF1024,PQ32?nprobe=16", "gpu:PCA256,IVF1024,PQ32?nprobe=16",
)  # fmt: skip
"""PQ of at most 48 codes: longer ones have half-precision look-up tables on a GPU, and other scores."""


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    if not options.on_cpu and gpu_count() == 0:
        sys.exit("FAISS sees no GPU here. --on-cpu tries the script without one.")
    images, queries = made(options.images, options.queries, options.dim)
    specs = [spec.removeprefix("gpu:") if options.on_cpu else spec for spec in options.specs]
    rows = [row for spec in specs for row in compared(IndexSpec.parse(spec), images, queries, options)]
    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.describe() | {"faiss_compile_options": compile_options()},
        "shape": [len(images), images.dim, len(queries), options.k],
        "points": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(page(found))
    if any(row["wrong"] for row in rows):
        sys.exit("NOT EQUAL: see the column `hits that differ beyond ties`.")


def made(images: int, queries: int, dim: int, seed: int = 0) -> tuple[Embeddings, Embeddings]:
    """Clustered unit vectors, as a photo library's are; a query is an image plus noise."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(8, images // 136), dim)).astype(np.float32)
    rows = centres[rng.integers(0, len(centres), images)]
    rows += 0.8 * rng.standard_normal((images, dim), dtype=np.float32)
    found = rows[rng.integers(0, images, queries)]
    found = found + 1.5 * rng.standard_normal((queries, dim), dtype=np.float32)
    return (
        Embeddings.normalised([f"{row:06d}" for row in range(images)], rows),
        Embeddings.normalised([f"q{row:06d}" for row in range(queries)], found),
    )


def compared(
    spec: IndexSpec, images: Embeddings, queries: Embeddings, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A line for each point of one specification."""
    index = Index.build(spec, images)
    copied = Index.wrap(images.ids, to_cpu(index._faiss), name=spec.factory)  # noqa: SLF001  the same bytes
    own = Index.build(spec.factory, images)
    rows: list[dict[str, Any]] = []
    for params in spec.grid:
        sides = {"gpu": index, "cpu": copied}
        runs, seconds = searched(sides, queries, options, params)
        sure = ~tied_lists(copied._faiss, queries.float32(), params.get("nprobe"))  # noqa: SLF001  likewise
        found = [(runs[side].scores[sure], runs[side].rows[sure]) for side in ("gpu", "cpu")]
        wrong, ids, apart = differences(*found)
        rows.append({
            "key": spec.key(params),
            "wrong": wrong,
            "queries_with_tied_lists": int((~sure).sum()),
            "other_ids_at_ties": ids,
            "scores_apart": apart,
            "seconds": seconds,
            "built_seconds": {
                "gpu": index.train_seconds + index.add_seconds, "cpu": own.train_seconds + own.add_seconds
            },
            "overlap_with_own_build": overlap(runs["gpu"], own.search(queries, k=options.k, **params)),
        })  # fmt: skip
    return rows


def searched(
    sides: dict[str, Index], queries: Embeddings, options: argparse.Namespace, params: dict[str, Any]
) -> tuple[dict[str, Run], dict[str, float]]:
    """The runs of both, and the median seconds of all queries in one batch: a search by FAISS alone."""
    runs = {side: index.search(queries, k=options.k, **params) for side, index in sides.items()}
    vectors = queries.float32()
    calls = {side: index.searcher(options.k, **params) for side, index in sides.items()}
    spent: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds + 1):
        for side, call in calls.items():
            start = time.perf_counter()
            call(vectors)
            spent[side].append(time.perf_counter() - start)
    return runs, {side: statistics.median(each[1:]) for side, each in spent.items()}


def overlap(first: Run, second: Run, depth: int = 10) -> float:
    """The share of the first hits that two runs have in common."""
    pairs = zip(first.rows[:, :depth], second.rows[:, :depth], strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs]))


def page(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    images, dim, queries, k = found["shape"]
    environment = found["environment"]
    lines = [
        (
            f"{images:,} x {dim}, {queries:,} queries to depth {k}; {environment['gpu'] or 'no GPU'}, "
            f"{environment['cores']} cores of {environment['cpu']}, {found['date'][:10]}. Scores are tied "
            f"within {TOLERANCE:g}."
        ),
        "",
        (
            "| point | hits that differ beyond ties | other ids at ties | queries with tied lists "
            "| scores apart, most | GPU | CPU | times as fast | shared with a build on the CPU |"
        ),
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in found["points"]:
        gpu, cpu = row["seconds"]["gpu"], row["seconds"]["cpu"]
        lines.append(
            f"| {row['key']} | {row['wrong']} | {row['other_ids_at_ties']} "
            f"| {row['queries_with_tied_lists']} | {row['scores_apart']:.1e} "
            f"| {1e3 * gpu:.1f} ms | {1e3 * cpu:.1f} ms | {cpu / gpu:.1f} "
            f"| {row['overlap_with_own_build']:.3f} |"
        )
    return "\n".join(lines)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=68_154)
    parser.add_argument("--queries", type=int, default=10_725)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of both sides")
    parser.add_argument("--specs", nargs="+", default=SPECS)
    parser.add_argument("--on-cpu", action="store_true", help="tries the script without a GPU")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
