"""Operating points that may be chosen, and the ladders that they form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgbench.errors import InputError
from imgbench.index import IndexSpec
from imgbench.index.spec import Number

EXACT = "Flat"
_FEWEST = 2


@dataclass(frozen=True)
class Candidate:
    """One operating point: its key, the index it searches and the parameters of the search."""

    key: str
    index: str
    params: Mapping[str, Number]


def parse(indexes: str | Sequence[str]) -> tuple[IndexSpec, ...]:
    """The specifications without exact search, which is what the others are compared with.

    InputError where a point came twice or fewer than two are left.
    """
    parsed = [IndexSpec.parse(text) for text in ([indexes] if isinstance(indexes, str) else indexes)]
    specs = tuple(spec for spec in parsed if spec.text != EXACT)
    keys = [spec.key(params) for spec in specs for params in spec.grid]
    if twice := [key for key in keys if keys.count(key) > 1]:
        came = f"The point {twice[0]!r} came twice."
        raise InputError(came, "Each is a candidate once.", "Remove one of them.")
    if len(keys) < _FEWEST:
        came = f"The grid has {len(keys)} {'point' if len(keys) == 1 else 'points'} besides exact search."
        raise InputError(
            came, "Tuning chooses among several.", "Add values, such as IVF64,Flat?nprobe=1,2,4,8."
        )
    return specs


def ladders(specs: Sequence[IndexSpec]) -> list[list[Candidate]]:
    """The points of each specification in ladders along its longest axis, quality rising.

    More lists, candidates or bits looked at find no less (in expectation): every search parameter that FAISS
    has here works in that direction, with 0 for max_codes meaning no limit.

    >>> [[point.key for point in ladder] for ladder in ladders([IndexSpec.parse("IVF4,SQ8?nprobe=4,1")])]
    [['IVF4,SQ8?nprobe=1', 'IVF4,SQ8?nprobe=4']]
    """
    found: list[list[Candidate]] = []
    for spec in specs:
        values = {name: {params[name] for params in spec.grid} for name in spec.grid[0]}
        axis = max(values, key=lambda name: len(values[name])) if values else ""
        apart: dict[tuple[Number, ...], list[Candidate]] = {}
        for params in sorted(spec.grid, key=lambda params: _quality(axis, params.get(axis, 0))):
            fixed = tuple(value for name, value in params.items() if name != axis)
            apart.setdefault(fixed, []).append(Candidate(spec.key(params), spec.name, params))
        found += apart.values()
    return found


def _quality(name: str, value: Number) -> float:
    return math.inf if name == "max_codes" and value == 0 else value
