"""Which queries rise and fall together: the units of every interval and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from imgbench.errors import InputError
from imgbench.qrels import Qrels

_EXAMPLES = 5


def cluster_queries(query_ids: Sequence[str], qrels: Qrels) -> tuple[Int32[np.ndarray, "query"], str]:
    """A cluster number per query (from 0, in first-seen order), and the rule in one sentence.

    Captions of one photo are no independent questions (Miller 2024, arXiv 2411.00640): queries whose single
    relevant image is the same form a cluster. A query with several relevant images, or none, is its own.

    >>> qrels = Qrels.from_dict({"q1": {"a": 1}, "q2": {"a": 1, "b": 0}, "q3": {"a": 1, "b": 1}})
    >>> cluster_queries(["q1", "q2", "q3"], qrels)[0]
    array([0, 0, 1], dtype=int32)
    """
    relevant = qrels.grades > 0
    counts = np.bincount(qrels.query_rows[relevant], minlength=len(qrels.query_ids))
    image_of = np.zeros(len(qrels.query_ids), dtype=np.int64)
    image_of[qrels.query_rows[relevant]] = qrels.image_rows[relevant]
    judged = {query: row for row, query in enumerate(qrels.query_ids)}
    rows = np.array([judged.get(query, -1) for query in query_ids], dtype=np.int64)
    single = np.zeros(len(rows), dtype=bool)
    single[rows >= 0] = counts[rows[rows >= 0]] == 1
    # Beyond all image rows every query has a number of its own.
    labels = np.arange(len(rows)) + len(qrels.image_ids)
    labels[single] = image_of[rows[single]]
    rule = "Queries whose single relevant image is the same form a cluster; every other query is its own."
    return _first_seen(labels), rule


def _first_seen(labels: np.ndarray[Any, Any]) -> Int32[np.ndarray, "query"]:
    """The labels as numbers 0, 1, ... in the order in which they first come."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int32)[inverse]


def labelled(
    query_ids: Sequence[str], clusters: Mapping[str, str] | Sequence[str]
) -> Int32[np.ndarray, "query"]:
    """A cluster number per query from its label, by id or in the queries' order."""
    if isinstance(clusters, Mapping):
        if missing := [query for query in query_ids if query not in clusters]:
            named = ", ".join(map(repr, missing[:_EXAMPLES])) + ", ..." * (len(missing) > _EXAMPLES)
            raise InputError(
                f"{len(missing)} queries have no cluster label ({named}).",
                "Every query belongs to a cluster.",
                "Label them all, or pass no clusters.",
            )
        clusters = [clusters[query] for query in query_ids]
    return _first_seen(np.asarray(clusters))
