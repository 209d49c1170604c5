"""docs/performance.md from what was measured: no figure is typed by hand.

A part is what one command measured: its date, its machine, and either `groups` of sides (the pytest
benchmarks), `rows` of figures beside a target, or `peers`. Each part is measured and kept by itself, so that
one can be measured again without the others.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import ratios
from ratios import Side

Part = Mapping[str, Any]

HEAD = """# How fast imgbench is

Written by `python benchmarks/performance.py` from what it measured. No figure in a table is typed by hand;
the reasons below the tables were written from a profile of the same command, and their seconds are of that.

**Reading the tables.** Times are medians unless a line says "one run"; *IQR* is the distance between their
quartiles. *Times as fast* is the other's time divided by ours: above 1, imgbench is faster. *Wanted* is a
target that was fixed before anything was measured. Both sides get the same inputs and threads. Before the
clock starts, each group of the stages checks that its sides give the same result, but for rounding. In bf16
that is much: values of text vectors may differ by .03; of photographs, beside which loops run in fp32,
cosines have to be above .999. *imgbench's network alone* is a part of imgbench's own work: a bound, not a
rival. Ratios carry over to other machines better than times do. Where imgbench loses or misses a target, a
line below the table says so, and why.
"""

AGAIN = """## Measure again

```
python benchmarks/performance.py                  # everything, then this page
python benchmarks/performance.py --only stages    # one part; the others stay as they were
python benchmarks/performance.py --only           # this page alone, from benchmarks/measured
```

`nox -s performance` does the first in the environment of the tests. Close other programs: on a busy machine
every figure moves, and those of several threads most. The peers get environments of their own, made once from
the package registry (7 GB in `bench-out/peers`); `--only stages whole cached` does without them.
"""

TITLES = {
    "stages": "Stage by stage, beside what one would otherwise write",
    "whole": "The whole benchmark at the size of a study",
    "cached": "The second run",
    "peers": "Other libraries on the same inputs",
    "gpu": "On a GPU",
}

PACKAGES = ("torch", "open_clip_torch", "faiss-gpu", "faiss-cpu", "numpy", "ir-measures", "pillow")

OWN = "imgbench's network alone"

# Why a side is faster than imgbench or a target is missed: a pattern of "what / who", and the reason.
WHY: dict[str, str] = {
    r"^encode 256 captions of photos, ViT-B-32 in bf16": (
        "Its half second moves by a third with what else the machine's host does: the same code gave 5.4 an "
        "hour earlier."
    ),
    r"^search HNSW.* / faiss": (
        "One call of FAISS and the making of a run: as fast, within what is measured."
    ),
    r"^search IVF.* / faiss": (
        "It gives what one call of FAISS does not: results that do not depend on the number of threads, and "
        "an order of ties. For that, threads of Python work beside FAISS's own. The search of an index as "
        "small as this one is so short that it shows."
    ),
    r"^the second run": (
        "The encoder of `scenes` is tiny, so that the first run is short, and much of it no cache can save. "
        "Of 10 s of the second run, imports take 2.5, timing every point anew 3.2, saving the report 1.4 and "
        "reading the scenes 1.1."
    ),
    r"^the process: outside ": (
        "Imports take 2.5 s, writing indexes to the cache 2.0 s, saving the report 2.9 s; casting float16 "
        "vectors is part of the rest."
    ),
    r": outside ": ("Writing indexes to the cache takes 2.0 s; casting float16 vectors is part of the rest."),
}


def page(parts: Mapping[str, Part]) -> str:
    """The Markdown of all parts in their order. One that was never measured is named as such."""
    named = [*TITLES, *(name for name in parts if name not in TITLES)]
    found = [section(name, parts[name]) for name in named if name in parts]
    missing = [TITLES[name] for name in TITLES if name not in parts and name != "gpu"]
    if missing:
        found.append("## Not measured yet\n\n" + "\n".join(f"- {title}" for title in missing))
    return "\n\n".join([HEAD.strip(), *found, AGAIN.strip()]) + "\n"


def section(name: str, part: Part) -> str:
    """A part's heading, machine, table, and what has to be said about it."""
    title = TITLES.get(name) or part["title"]
    table, remarks = shown(part)
    about = [text for text in (part.get("about", ""), machine(part)) if text]
    said = [*(f"- {remark}" for remark in remarks), *(f"- {note}" for note in part.get("notes", []))]
    printed = f"```\n{part['printed'].strip()}\n```" if part.get("printed") else ""
    return "\n\n".join(text for text in (f"## {title}", *about, table, "\n".join(said), printed) if text)


def machine(part: Part) -> str:
    """Date, processor and versions in one paragraph.

    >>> machine({"date": "2026-11-21", "command": "x", "environment": {"cpu": "A", "cores": 2, "gpu": None,
    ...     "python": "3.11.7", "packages": {"torch": "2.14.1", "pandas": "3"}}})
    '`x`, 21 November 2026: A, 2 cores, no GPU; Python 3.11.7, torch 2.14.1.'
    """
    if "peers" in part:
        each = [peer_stamp(name, told) for name, told in part["peers"].items()]
        return "\n".join([f"`{part['command']}`: each peer was measured by itself.\n\n{PEERS_READ}\n", *each])
    return f"`{part['command']}`, {stamp(part)}."


def stamp(part: Part) -> str:
    """When and where something was measured."""
    env, day = part["environment"], dt.date.fromisoformat(part["date"][:10])
    versions = [f"{name} {env['packages'][name]}" for name in PACKAGES if name in env["packages"]]
    where = f"{env['cpu']}, {env['cores']} cores, {env['gpu'] or 'no GPU'}"
    return f"{day.day} {day:%B %Y}: {where}; {', '.join(['Python ' + env['python'], *versions])}"


def peer_stamp(name: str, told: Part) -> str:
    r"""The same for one peer, with its own versions and how often each side ran.

    >>> env = {"cpu": "A", "cores": 2, "gpu": None, "python": "3.11.7", "packages": {}}
    >>> told = {"date": "2026-11-21", "environment": env, "versions": "ranx 0.3.21", "threads": 2, "runs": 3}
    >>> print(peer_stamp("ranx", told).replace(", 21", ",\n21"))
    - *ranx*: median of 3 processes (lowest to highest), 2 threads,
    21 November 2026: A, 2 cores, no GPU; Python 3.11.7. Peer: ranx 0.3.21.
    """
    runs = "one run" if told["runs"] == 1 else f"median of {told['runs']} processes (lowest to highest)"
    return f"- *{name}*: {runs}, {told['threads']} threads, {stamp(told)}. Peer: {told['versions']}."


def shown(part: Part) -> tuple[str, list[str]]:
    """The table of a part, and a remark for each line where imgbench loses or misses its target."""
    if "groups" in part:
        groups = {what: [Side(**side) for side in sides] for what, sides in part["groups"].items()}
        return ratios.markdown(ratios.HEADINGS, ratios.rows(groups)), behind(groups)
    rows = part["rows"]
    if "peers" in part:
        return ratios.markdown(PEER_HEADINGS, [peer_line(row) for row in rows], PEER_RIGHT), lost(
            rows
        ) + agreement(rows)
    if not rows:
        return "", []
    table = ratios.markdown(ROW_HEADINGS, [tuple(row.get(name, "") for name in ROW_HEADINGS) for row in rows])
    return table, [remark(row["what"], "misses its target") for row in rows if row.get("misses")]


ROW_HEADINGS = ("what", "reached", "wanted")


def behind(groups: Mapping[str, list[Side]]) -> list[str]:
    """Remarks on the pytest benchmarks. A part of our own work bounds the whole and is no rival."""
    found = []
    for what, (ours, *others) in groups.items():
        for side in others:
            if side.name == OWN:
                continue
            times, wanted = side.median / ours.median, side.wanted or 1.0
            if times < wanted:
                verdict = f"{ratios.ratio(times)} times as fast as {side.name}"
                verdict += f" instead of {side.wanted:g}" if side.wanted else ": the other is faster"
                found.append(remark(f"{what} / {side.name}", verdict))
    return found


def remark(what: str, verdict: str) -> str:
    """What is said of a line that imgbench loses, with the reason if there is one."""
    why = next((text for pattern, text in WHY.items() if re.search(pattern, what)), "Not explained yet.")
    return f"*{what.partition(' / ')[0]}*: {verdict}. {why}"


TIMES = ("s", "ms")
ALONE = 1.5  # how many times as fast one run has to be

PEERS_READ = f"""Fresh processes of both sides take turns, with the same number of threads. *Better* is who is
better in every process; for times of a single run, who is at least {ALONE} times as fast; for scores, who is
better beyond a paired 95 % interval over the queries. Otherwise it is neither. The means that scoring
libraries give are equal to 1e-9, or the comparison stops. Points of imgbench beside autofaiss were chosen on
the queries of half of the photographs and are measured on those of the other half; autofaiss saw none."""

PEER_HEADINGS = ("peer", "figure", "imgbench", "peer's", "ratio", "better")
PEER_RIGHT = frozenset({"imgbench", "peer's", "ratio"})


def peer_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A figure of both sides, each a median with its lowest and highest, and who is better.

    >>> row = {"peer": "ranx", "figure": "score", "unit": "s", "better": "lower", "why": "",
    ...        "ours": [0.011, 0.01, 0.012], "theirs": [0.5, 0.4, 0.6], "runs": 3}
    >>> peer_line(row)
    ('ranx', 'score', '11.0 ms (10.0 ms to 12.0 ms)', '500 ms (400 ms to 600 ms)', '45', 'imgbench')
    """
    ours, theirs = (said(row[side], row["unit"]) for side in ("ours", "theirs"))
    return row["peer"], row["figure"], ours, theirs, advantage(row), winner(row)


def said(values: list[float], unit: str) -> str:
    """A median with its range, in a unit that suits it; scores have four decimals and no unit."""
    write = ratios.duration if unit == "s" else (lambda value: quantity(value, unit))
    middle, low, high = map(write, values)
    return middle if low == high else f"{middle} ({low} to {high})"


def quantity(value: float, unit: str) -> str:
    """A score, or a figure with its unit.

    >>> quantity(0.12346, ""), quantity(1234.5, "MB")
    ('.1235', '1,230 MB')
    """
    return f"{ratios.figure(value)} {unit}" if unit else f"{value:.4f}".removeprefix("0")


def advantage(row: Mapping[str, Any]) -> str:
    """How many times as good imgbench is, for times and sizes; the difference, for scores."""
    ours, theirs = row["ours"][0], row["theirs"][0]
    if not row["unit"]:
        return f"{ours - theirs:+.4f}"
    times = theirs / ours if row["better"] == "lower" else ours / theirs
    return ratios.ratio(times)


def winner(row: Mapping[str, Any]) -> str:
    """Who is better; nobody where the ranges of the runs meet, a paired interval holds 0 (`even`), or the
    times of one run are too close.

    >>> row = {"better": "lower", "unit": "s", "ours": [2, 1, 3], "theirs": [4, 3, 5], "runs": 3}
    >>> winner(row), winner(row | {"theirs": [5, 4, 6]})
    ('neither', 'imgbench')
    >>> winner(row | {"runs": 1, "ours": [2, 2, 2], "theirs": [2.9, 2.9, 2.9]})
    'neither'
    """
    (ours, our_low, our_high), (theirs, their_low, their_high) = row["ours"], row["theirs"]
    close = row["runs"] == 1 and row["unit"] in TIMES and max(ours, theirs) < ALONE * min(ours, theirs)
    if row.get("even") or close or (our_low <= their_high and their_low <= our_high):
        return "neither"
    return "imgbench" if (our_high < their_low) == (row["better"] == "lower") else "the peer"


def lost(rows: list[Mapping[str, Any]]) -> list[str]:
    """A remark on each figure that a peer wins."""
    return [
        f"**{row['peer']} wins** *{row['figure']}*. {row['why'] or 'Not explained yet.'}"
        for row in rows
        if winner(row) == "the peer"
    ]


SAME = "both sides give the same values."


def agreement(rows: list[Mapping[str, Any]]) -> list[str]:
    """How close the answers are where rounding may part them; near ties fall either way.

    >>> agreement([{"peer": "x", "figure": "recall", "differs": 0.00156}])
    ['*x, recall*: the values of both sides differ by at most .0016.']
    """
    lines = []
    for row in rows:
        if "differs" in row:
            apart = f"{row['differs']:.4f}".removeprefix("0")
            lines.append(
                f"*{row['peer']}, {row['figure']}*: "
                + (f"the values of both sides differ by at most {apart}." if row["differs"] else SAME)
            )
    return lines
