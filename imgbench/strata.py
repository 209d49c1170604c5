"""Where the loss falls: paired differences in parts of the queries, all parts counted in the intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32, Integer

from imgbench import significance, tables
from imgbench.errors import InputError
from imgbench.significance import LEAST_CLUSTERS, Comparison

BUILT_IN = ("query length", "cluster size")
_FEW_VALUES = 4
_PARTS = 3
_MOST_STRATA = 50  # cells share the error: with more of them every limit becomes useless


@dataclass(frozen=True, eq=False)
class Strata:
    """One way to part the judged queries: `labels[codes[q]]` is the stratum of query q, -1 is none.

    >>> by_length(["a red car", "a car", "two dogs in the deep snow"]).labels
    ('2 words', '3 words', '6 words')
    """

    name: str
    labels: tuple[str, ...]
    codes: Int32[np.ndarray, "query"]


@dataclass(frozen=True)
class Part:
    """What one stratum holds: `comparisons`, one a point, are None where it has fewer than 10 clusters."""

    strata: str
    label: str
    queries: int
    clusters: int
    comparisons: list[Comparison] | None


def by_length(texts: Sequence[str]) -> Strata:
    """Queries by their number of words, in up to four values or three parts of about equal size."""
    return _by_number(BUILT_IN[0], np.array([len(text.split()) for text in texts]), "word")


def by_cluster_size(clusters: Integer[np.ndarray, "query"]) -> Strata:
    """Queries by how many there are of the same cluster, such as the captions of one image."""
    sizes = np.bincount(np.asarray(clusters))
    return _by_number(BUILT_IN[1], sizes[np.asarray(clusters)], "query")


def labelled(name: str, labels: Mapping[str, str], query_ids: Sequence[str]) -> Strata:
    """Strata from a label for each query id; queries without a label belong to none.

    InputError if no judged query has a label, and for more than 50 different ones.
    """
    found = [labels.get(query, "") for query in query_ids]
    distinct = sorted({str(label) for label in found if label not in {"", None}})
    if name in BUILT_IN:
        came = f"The strata {name!r} have the name of some that are always there."
        raise InputError(came, "Each way to part the queries has its own name.", "Rename the column.")
    if not distinct:
        raise InputError(
            f"The strata {name!r} label no judged query.",
            f"Wanted labels of queries such as {query_ids[0]!r}.",
            "Check the query ids.",
        )
    if len(distinct) > _MOST_STRATA:
        raise InputError(
            f"The strata {name!r} have {len(distinct)} labels.",
            f"At most {_MOST_STRATA} can be compared.",
            "Join labels.",
        )
    place = {label: code for code, label in enumerate(distinct)}
    codes = np.array([place.get(str(label), -1) for label in found], dtype=np.int32)
    return Strata(name, tuple(distinct), codes)


def unlabelled(strata: Strata, labels: Mapping[str, str], query_ids: Sequence[str]) -> list[str]:
    """Sentences about labels of unknown queries and about queries without a label."""
    known = set(query_ids)
    strangers = [query for query in labels if query not in known]
    missing = int((strata.codes < 0).sum())
    told: list[str] = []
    if strangers:
        told.append(
            f"{len(strangers):,} labels of {strata.name!r} name no judged query (such as {strangers[0]!r})."
        )
    if missing:
        told.append(f"{missing:,} of {len(query_ids):,} judged queries have no label in {strata.name!r}.")
    return told


def read(path: str | Path) -> dict[str, dict[str, str]]:
    """Labels from a CSV file with the column query_id: each other column is a way to part the queries.

    InputError for a file that is no such table, and for a query that stands there twice.
    """
    table = tables.read(path, required=("query_id",), optional=None)
    ids = table.columns.pop("query_id")
    if not ids:
        raise InputError(f"{path} has no rows.", "Each labels a query.", "Add some, or leave the file out.")
    if twice := [query for query, count in Counter(ids).items() if count > 1]:
        came = f"{path} labels {twice[0]!r} twice."
        raise InputError(came, "Each query has one row.", "Remove one of them.")
    if not table.columns:
        came = f"{path} has only the column query_id."
        raise InputError(came, "Every other column labels the queries.", "Add one, such as domain.")
    return {name: dict(zip(ids, labels, strict=True)) for name, labels in table.columns.items()}


def compared(
    deltas: Float64[np.ndarray, "point query"] | Float64[np.ndarray, "point build query"],
    clusters: Integer[np.ndarray, "query"],
    strata: Sequence[Strata],
    *,
    margin: float | Float64[np.ndarray, "point"],
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Part]:
    """The comparisons of every point in every stratum.

    All limits of all strata hold at once: the error is shared equally over the strata (Bonferroni), and
    within a stratum they are simultaneous over points as in `significance.paired`. They are a family of their
    own: the limits of the whole report do not become wider by looking into parts.
    """
    cells = [(each, code) for each in strata for code in range(len(each.labels))]
    chosen = [each.codes == code for each, code in cells]
    counts = [len(np.unique(np.asarray(clusters)[rows])) for rows in chosen]
    enough = max(1, sum(count >= LEAST_CLUSTERS for count in counts))
    shared = 1 - (1 - confidence) / enough
    return [
        Part(
            each.name,
            each.labels[code],
            int(rows.sum()),
            count,
            significance.paired(
                deltas[..., rows], np.asarray(clusters)[rows], margin=margin, confidence=shared, seed=seed
            )
            if count >= LEAST_CLUSTERS
            else None,
        )
        for (each, code), rows, count in zip(cells, chosen, counts, strict=True)
    ]


def _by_number(name: str, values: Integer[np.ndarray, "query"], unit: str) -> Strata:
    distinct = np.unique(values)
    if len(distinct) > _FEW_VALUES:
        # The upper ends of three parts of about equal size; equal numbers stay together.
        ranks = [math.ceil(len(values) * part / _PARTS) - 1 for part in range(1, _PARTS + 1)]
        ends = np.unique(np.sort(values)[ranks])
    else:
        ends = distinct
    codes = np.searchsorted(ends, values).astype(np.int32)
    spans = [(int(values[codes == code].min()), int(end)) for code, end in enumerate(ends.tolist())]
    return Strata(name, tuple(_words(low, high, unit) for low, high in spans), codes)


def _words(low: int, high: int, unit: str) -> str:
    many = unit if high == 1 else {"query": "queries"}.get(unit, f"{unit}s")
    return f"{high} {many}" if low == high else f"{low} to {high} {many}"
