"""The form of results.json, schema 1: which keys there are and of what kind.

Keys beyond those of `FORM` are kept. Those that the pages know and a report may lack:
`corpus.notices` (sentences), `corpus.cluster_rule`, `corpus.detectable` (the losses
that this corpus can rule out at best, and in words);
`margin_given` (as it was asked, such as "1%"; `margin` holds units of the measure);
`encoders[].cached` (true: all image vectors were read from the cache, and the rate is of an earlier run);
`encoders[].precision_effect` (what another precision than fp32 changed, on a sample: cosines, and the first
measure of queries that were ranked again; or why that was `not_measured`);
`points[].delta[]`: `clusters_needed` (in all), `margin` (of this encoder), `changed` (queries), `method`, and
`builds` (mean of each build, their spread, the limits of the queries alone);
`points[].cached` (true: the index was read from the cache, and its build times are of an earlier run);
`points[].concurrency` (a load each: clients, their threads as read back, queries per second, latency, and
efficiency beside as many clients alone) and `points[].batches` (queries per second by size, ms of a batch);
`points[].builds` (the saved runs of further builds), `points[].overlap_quality` (correlation and bins by
measure), `points[].funnel`, `points[].latency_ms.intervals`, `points[].throughput_qps.low/high`;
`strata` (differences in parts of the queries), `distractor_curves` (by encoder), and `baseline_drift`
(encoder name -> share by which exact search was slower at the end than at the start);
`profile` (seconds in all, `faiss_seconds` of them searching, training and adding: FAISS's own calls and, in
exact search, imgbench's own product; and `stages` in their order, each `depth` levels within another).
"""

from __future__ import annotations


class Each:
    """A mapping of any names to values of one form."""

    def __init__(self, form: object) -> None:
        self.form = form


class Maybe:
    """A key that may be absent, or a value that may be null where nothing was measured."""

    def __init__(self, form: object) -> None:
        self.form = form


_INTERVAL = {"mean": float, "low": float, "high": float}
_SOME = Maybe(float)
_DELTA = _INTERVAL | {
    "verdict": str,
    "margin": _SOME,
    "clusters_needed": Maybe(int),
    "changed": Maybe(int),
    "method": Maybe(str),
}
_BUILDS = {"means": [float], "spread": float, "queries": {"low": float, "high": float}}
_OVERLAP_QUALITY = {
    "pearson": _SOME,
    "spearman": _SOME,
    "unharmed": _SOME,
    "bins": [{"lost": float, "queries": int, "mean": float}],
}
_STRATUM = {
    "measure": str,
    "strata": str,
    "label": str,
    "queries": int,
    "clusters": int,
    "points": [_DELTA | {"encoder": str, "key": str}],
}
_FUNNEL = {
    "steps": [
        {
            "step": str,
            "mean": Each(float),
            "delta": Each(_INTERVAL | {"verdict": str}),
        }
    ],
    "total": Each(_INTERVAL | {"verdict": str}),
}
_CURVE = {
    "images": int,
    "pool": int,
    "sizes": [int],
    "quality": Each({"mean": [float], "low": [float], "high": [float]}),
    "extrapolation": Maybe({"model": str, "checked_to": int}),
}
_LATENCY = {
    "p50": float,
    "p95": float,
    "p99": float,
    "queries": int,
    "threads": int,
    "intervals": Maybe(Each([Maybe(float)])),
}
_THROUGHPUT = {
    "value": float,
    "batch": int,
    "threads": int,
    "low": Maybe(float),
    "high": Maybe(float),
    "repeats": Maybe(int),
}
_LOAD = {
    "clients": int,
    "threads": [int],
    "throughput_qps": {"value": float, "low": float, "high": float, "rounds": int},
    "latency_ms": _LATENCY,
    "efficiency": float,
}
_POINT = {
    "encoder": str,
    "index": str,
    "params": Each(float),
    "key": str,
    "run": str,
    "quality": Each(_INTERVAL),
    # Exact search is compared with nothing: its delta is {}.
    "delta": Each(_DELTA | {"builds": Maybe(_BUILDS)}),
    "builds": Maybe([{"seed": int, "name": str, "run": str}]),
    "overlap_quality": Maybe(Each(_OVERLAP_QUALITY)),
    "funnel": Maybe(_FUNNEL),
    "latency_ms": _LATENCY,
    "throughput_qps": _THROUGHPUT,
    "concurrency": Maybe([_LOAD]),
    "batches": Maybe([_THROUGHPUT | {"ms_per_batch": float}]),
    "train_seconds": _SOME,
    "add_seconds": _SOME,
    "index_bytes": _SOME,
    "bytes_per_image": _SOME,
    "distance_computations_per_query": _SOME,
    "cached": Maybe(object),
}
_STAGE = {
    "stage": str,
    "depth": int,
    "seconds": float,
    "unit": str,
    "items": int,
    "waited": float,
    "faiss_seconds": float,
}
_COSINE = {"count": int, "mean": float, "least": float}
_PRECISION = {
    "against": str,
    "not_measured": Maybe(str),
    "cosine": Maybe({"images": _COSINE, "queries": _COSINE}),
    "quality": Maybe(
        _INTERVAL
        | {
            "measure": str,
            "queries": int,
            "images": int,
            "depth": int,
            "confidence": float,
            "changed": int,
            "exchanged": int,
            "ranked": int,
            "moved": float,
            "gap": _SOME,
            "open": int,
        }
    ),
}
FORM: dict[str, object] = {
    "schema": int,
    "corpus": {
        "name": str,
        "images": int,
        "queries": int,
        "judged_queries": int,
        "clusters": int,
        "missing_images": int,
        "fingerprint": str,
        "notices": Maybe([str]),
        "cluster_rule": Maybe(str),
        "detectable": Maybe({"floor": float, "typical": float, "told": str}),
    },
    "encoders": [
        {
            "name": str,
            "dim": int,
            "precision": Maybe(str),
            "images_per_second": _SOME,
            "fingerprint": Maybe(str),
            "precision_effect": Maybe(_PRECISION),
            "cached": Maybe(object),
        }
    ],
    "baseline": str,
    "margin": Each(float),
    "margin_given": Maybe(Each(str)),
    "confidence": float,
    "points": [_POINT],
    "encoder_differences": [{"a": str, "b": str, "measure": str, **_INTERVAL}],
    "strata": Maybe([_STRATUM]),
    "distractor_curves": Maybe(Each(_CURVE)),
    "environment": {
        "python": str,
        "packages": Each(str),
        "cpu": str,
        "cores": int,
        "gpu": Maybe(str),
        "faiss_compile_options": Maybe(str),
        "threads": Each(object),
        "seed": Maybe(int),
        "command": Maybe(str),
        "git": Maybe(str),
    },
    "baseline_drift": Maybe(Each(float)),
    "profile": Maybe({"seconds": float, "faiss_seconds": float, "stages": [_STAGE]}),
}
