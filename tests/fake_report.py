"""A report that is made up but consistent: real runs, judgements and scores; times are invented."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imgbench.evaluator import Evaluator
from imgbench.qrels import Qrels
from imgbench.report import Report
from imgbench.run import Run

MEASURES = ("nDCG@10", "AP@10", "R@10", "P@10")
MARGIN = 0.005
# key, share of exact search's hits that the point loses, queries per second, p50 ms, bytes per image
POINTS = (
    ("Flat", 0.0, 1_900.0, 1.93, 2048.0),
    ("IVF256,Flat?nprobe=1", 0.45, 61_000.0, 0.041, 2063.0),
    ("IVF256,Flat?nprobe=4", 0.12, 31_000.0, 0.083, 2063.0),
    ("IVF256,Flat?nprobe=16", 0.004, 12_400.0, 0.21, 2063.0),
    ("HNSW32?efSearch=16", 0.06, 42_000.0, 0.072, 2312.0),
    ("HNSW32?efSearch=64", 0.015, 15_300.0, 0.19, 2312.0),
)


def fake(
    encoders: tuple[str, ...] = ("scenes", "open_clip:ViT-H-14/metaclip_altogether"),
    *,
    images: int = 400,
    queries: int = 150,
    corpus: str = "scenes",
    points: tuple[tuple[str, float, float, float, float], ...] = POINTS,
) -> Report:
    """Two encoders with six points each unless told otherwise; the same arguments give the same report."""
    rng = np.random.default_rng(7)
    image_ids = tuple(f"image {row:04d}.jpg" for row in range(images))
    query_ids = tuple(f"q{row}" for row in range(queries))
    relevant = rng.integers(images, size=queries // 3).repeat(3)
    qrels = Qrels.from_rows(query_ids, [image_ids[row] for row in relevant], [1] * queries)
    judge = Evaluator(qrels, MEASURES)
    made = [
        _encoder(name, 1.2 + 0.5 * at, judge, (query_ids, image_ids, relevant), points)
        for at, name in enumerate(encoders)
    ]
    for number, point in enumerate(point for found, _, _ in made for point in found):
        point["run"] = f"runs/{number}.trec.gz"
    runs = {name: run for _, _, found in made for name, run in found.items()}
    results = _results(corpus, encoders, [point for found, _, _ in made for point in found], judge, images)
    scores = {name: judge.matrix(run) for name, run in runs.items()}
    results["encoder_differences"] = _differences(encoders, scores)
    return Report(results, pd.concat([frame for _, frames, _ in made for frame in frames]), runs, qrels)


def _encoder(name, skill, judge, world, points):
    """The points, frames and runs of one encoder: exact search, and searches that lose some of its hits."""
    query_ids, image_ids, relevant = world
    rng = np.random.default_rng(int(10 * skill))
    scores = rng.normal(size=(len(query_ids), len(image_ids)))
    scores[np.arange(len(query_ids)), relevant] += 1.6 * skill
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    exact = Run.from_search(query_ids, image_ids, np.take_along_axis(scores, rows, 1), rows)
    truth = judge.matrix(exact)
    found, frames, runs = [], [], {}
    for at, (key, lost, qps, p50, size) in enumerate(points):
        kept = rng.random(exact.rows.shape) >= lost
        kept_rows = np.where(kept, exact.rows, -1)
        run = Run.from_search(query_ids, image_ids, exact.scores, kept_rows).top(10)
        each = judge.matrix(run)
        runs[name, key] = run
        frames += _frames(name, key, judge, each)
        delta = {} if at == 0 else _deltas(each - truth)
        point = _point(name, key, run.overlap(exact, 10), (qps / skill, p50 * skill, size))
        found.append(point | {"quality": _quality(each), "delta": delta})
    return found, frames, runs


def _frames(encoder, key, judge, each):
    return [
        pd.DataFrame(
            {"encoder": encoder, "point": key, "query": judge.query_ids, "measure": name, "value": values}
        )
        for name, values in zip(MEASURES, each, strict=True)
    ]


def _interval(values) -> dict[str, float]:
    mean, error = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5 + 1e-4
    return {"mean": mean, "low": mean - error, "high": mean + error}


def _quality(each) -> dict[str, Any]:
    return {name: _interval(values) for name, values in zip(MEASURES, each, strict=True)}


def _deltas(deltas) -> dict[str, Any]:
    found = {}
    for name, values in zip(MEASURES, deltas, strict=True):
        bounds = _interval(values)
        verdict = (
            "holds" if bounds["low"] > -MARGIN else "degrades" if bounds["high"] < -MARGIN else "inconclusive"
        )
        found[name] = bounds | {"verdict": verdict}
        if verdict == "inconclusive":
            found[name]["clusters_needed"] = 1200
    return found


def _point(encoder, key, overlap, cost) -> dict[str, Any]:
    qps, p50, size = cost
    index, _, parameters = key.partition("?")
    return {
        "encoder": encoder,
        "index": index,
        "params": {
            name: int(value) for name, _, value in (p.partition("=") for p in parameters.split("&") if p)
        },
        "key": key,
        "overlap@10": overlap,
        "latency_ms": {
            "p50": p50,
            "p95": p50 * 1.31,
            "p99": p50 * 1.9,
            "queries": 1000,
            "threads": 1,
            "intervals": {"p50": [p50 * 0.99, p50 * 1.01], "p95": [p50, p50 * 1.5], "p99": [p50, None]},
        },
        "throughput_qps": {"value": qps, "batch": 150, "threads": 2, "low": qps * 0.9, "high": qps * 1.1},
        "train_seconds": 0.0 if index == "Flat" else 1.234,
        "add_seconds": 0.05,
        "index_bytes": int(size * 20_000),
        "bytes_per_image": size,
        "distance_computations_per_query": 20_000.0 * min(1.0, 1_900.0 / qps),
    }


def _results(corpus, encoders, points, judge, images) -> dict[str, Any]:
    return {
        "schema": 1,
        "corpus": {
            "name": corpus,
            "images": images,
            "queries": len(judge.query_ids),
            "judged_queries": len(judge.query_ids),
            "clusters": int(judge.clusters.max()) + 1,
            "missing_images": 0,
            "fingerprint": "sha256:" + "0" * 64,
            "cluster_rule": "Queries whose single relevant image is the same form one cluster.",
            "notices": ["2 unreadable images: a.jpg, b.jpg."],
        },
        "encoders": [
            {
                "name": name,
                "dim": 256,
                "precision": "fp32",
                "images_per_second": 412.3,
                "fingerprint": "sha256:1",
            }
            for name in encoders
        ],
        "baseline": "Flat",
        "margin": {"nDCG@10": MARGIN},
        "confidence": 0.95,
        "points": points,
        "encoder_differences": [],
        "environment": {
            "python": "3.12.3",
            "packages": {"imgbench": "0.1.0", "faiss-gpu": "1.15.1", "torch": "2.9.0", "numpy": "2.3.4"},
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "gpu": None,
            "faiss_compile_options": "OPTIMIZE AVX2",
            "threads": {"latency": 1, "throughput": 2},
            "seed": 0,
            "command": "imgbench run --corpus scenes --encoder scenes --index Flat --out out/",
            "git": None,
        },
        "baseline_drift": dict.fromkeys(encoders, 0.031),
    }


def _differences(encoders, scores) -> list[dict[str, Any]]:
    return [
        {"a": first, "b": second, "measure": name}
        | _interval(scores[first, "Flat"][at] - scores[second, "Flat"][at])
        for place, first in enumerate(encoders)
        for second in encoders[place + 1 :]
        for at, name in enumerate(MEASURES)
    ]
