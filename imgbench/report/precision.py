"""What the precision of an encoder changed, in a sentence."""

from __future__ import annotations

import math

from imgbench.report import readable
from imgbench.report.results import Results

_MOST_DIGITS = 9
_ALL = "A second encoder, the same with ?precision=fp32, would be compared with it over all queries."


def sentences(results: Results) -> list[str]:
    """One for each encoder whose precision was compared with fp32, or was to be, and how to learn more."""
    several = len(results["encoders"]) > 1
    found: list[str] = []
    for encoder in results["encoders"]:
        if effect := encoder.get("precision_effect"):
            whose = f" ({encoder['name']})" if several else ""
            found.append(f"{encoder['precision']} instead of {effect['against']}{whose}: {_told(effect)}")
            if "quality" in effect and not several:
                found.append(_ALL)
    return found


def cosine(value: float) -> str:
    """A cosine near 1 with two figures of what it lacks.

    >>> cosine(0.999962), cosine(0.98), cosine(1.0), cosine(0.9), cosine(-0.5)
    ('.999962', '.980', '1', '.90', '-.50')
    """
    lacks = 1 - value
    if lacks < 0.1**_MOST_DIGITS:
        return "1"
    digits = min(max(2, 1 - math.floor(math.log10(lacks))), _MOST_DIGITS)
    return readable.score(abs(value), digits) if value >= 0 else "-" + readable.score(-value, digits)


def _told(effect: Results) -> str:
    if "quality" not in effect or "cosine" not in effect:
        return f"not measured. {effect.get('not_measured') or ''}".rstrip()
    return f"{_cosines(effect['cosine'])}; {_quality(effect['quality'])}"


def _cosines(found: Results) -> str:
    sides = {"images": ("image", "images"), "queries": ("query", "queries")}
    parts = [
        f"{cosine(found[side]['mean'])} on average and {cosine(found[side]['least'])} at least over "
        f"{readable.count(found[side]['count'], *nouns)}"
        for side, nouns in sides.items()
    ]
    return f"cosines of {', '.join(parts)}"


def _quality(found: Results) -> str:
    queries = readable.count(found["queries"], "query", "queries")
    told = (
        f"{found['measure']} of {queries} changes by {readable.change(found['mean'])} "
        f"{readable.interval(found['low'], found['high'])}, {found['changed']:,} of their lists of "
        f"{found['depth']:,} in order and {found['exchanged']:,} in images."
    )
    if found["open"]:
        told += f" For {found['open']:,} of them more images may come in than were encoded again."
    return told
