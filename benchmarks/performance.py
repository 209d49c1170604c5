"""Measures how fast imgbench is and writes docs/performance.md.

    python benchmarks/performance.py [--only stages whole cached peers]

Each part is kept in benchmarks/measured with its date and machine, so that one can be measured again alone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import performance_page
import ratios

from imgbench import environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MEASURED = HERE / "measured"
PAGE = ROOT / "docs" / "performance.md"


def stages(folder: Path) -> dict[str, Any]:
    """The pytest benchmarks, also those that take long."""
    saved = folder / "speed.json"
    run("-m", "pytest", "benchmarks", "-q", "--no-header", "--benchmark-enable", "--benchmark-only",
        "--benchmark-columns=median,iqr,rounds", f"--benchmark-json={saved}", long=True)  # fmt: skip
    found = ratios.groups(read(saved)["benchmarks"])
    return {"groups": {what: [asdict(side) for side in sides] for what, sides in found.items()}}


def whole(folder: Path) -> dict[str, Any]:
    """`imgbench run` at the size of a study."""
    printed = run("benchmarks/study_size.py", "--folder", str(folder))
    return {"rows": whole_rows(printed), "printed": printed[printed.rfind("\nwall time") :]}


def whole_rows(printed: str) -> list[dict[str, Any]]:
    """The figures of study_size.py that have a target.

    >>> said = "the process: 90.0 s, 3.6 s (4.0%) outside of searching, training and adding, 3.10 times the"
    >>> said += " bare sum of 29 s"
    >>> [(row["reached"], row["misses"]) for row in whole_rows(said)]
    [('4.0 % of 90.0 s', False), ('3.10 times', True)]
    """
    rows = []
    pattern = (
        r"^(.+): ([\d.]+) s, .*\(([\d.]+)%\) outside of searching, training and adding, "
        r"([\d.]+) times the bare sum"
    )
    for what, seconds, outside, times in re.findall(pattern, printed, re.MULTILINE):
        shares = f"{outside} % of {seconds} s", f"{times} times"
        row = {"what": f"{what}: outside of searching, training and adding", "reached": shares[0]}
        rows.append(row | {"wanted": "at most 5 %", "misses": float(outside) > 5})
        row = {"what": f"{what}: beside one search a point plus builds", "reached": shares[1]}
        rows.append(row | {"wanted": "at most 2.5 times", "misses": float(times) > 2.5})
    return rows


def cached(_: Path) -> dict[str, Any]:
    """`imgbench run` twice."""
    printed = run("benchmarks/cached_run.py", "--corpus", "scenes")
    return {"rows": cached_rows(printed), "printed": printed}


def cached_rows(printed: str) -> list[dict[str, Any]]:
    """The share of cached_run.py, beside its target.

    >>> cached_rows("first run 80.0 s, second run 9.0 s: 11.2%")[0]["misses"]
    True
    """
    found = re.search(r"first run ([\d.]+) s, second run ([\d.]+) s: ([\d.]+)%", printed)
    if found is None:
        return []
    first, second, share = map(float, found.groups())
    row = {"what": "the second run beside the first", "reached": f"{share} % ({second} s of {first} s)"}
    return [row | {"wanted": "under 10 %", "misses": share >= 10}]


def peers(folder: Path) -> dict[str, Any]:
    """Other libraries, in environments of their own that outlive this run."""
    saved = folder / "peers.json"
    if (MEASURED / "peers.json").exists():  # a peer that cannot be measured here keeps its figures
        shutil.copy(MEASURED / "peers.json", saved)
    run("benchmarks/peers/compare_peers.py", "--json", str(saved))
    return read(saved)


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "stages": stages,
    "whole": whole,
    "cached": cached,
    "peers": peers,
}
COMMANDS = {
    "stages": "pytest benchmarks",
    "whole": "python benchmarks/study_size.py",
    "cached": "python benchmarks/cached_run.py --corpus scenes",
    "peers": "python benchmarks/peers/compare_peers.py",
}


def run(*arguments: str, long: bool = False) -> str:
    """What a script of this repository prints; it is shown while it runs, too."""
    env = {**os.environ, **({"IMGBENCH_LONG": "1"} if long else {})}
    lines = []
    with subprocess.Popen(  # noqa: S603  our own scripts
        [sys.executable, *arguments], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed.")
    return "".join(lines)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def measure(name: str) -> dict[str, Any]:
    """A part with its date, its machine and how long it took; peers have each their own."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = PARTS[name](Path(folder))
    if name == "peers":  # some may be those of another day
        return {"seconds": round(time.perf_counter() - start, 1), **found}
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": COMMANDS[name],
        "seconds": round(time.perf_counter() - start, 1),
        "environment": environment.describe(),
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="measure these parts"
    )
    parser.add_argument("--measured", type=Path, default=MEASURED, help="where the parts are kept")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    options.measured.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        part = measure(name)
        text = json.dumps(part, indent=1, ensure_ascii=False) + "\n"
        (options.measured / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {part['seconds']:.0f} s", flush=True)
    parts = {path.stem: read(path) for path in sorted(options.measured.glob("*.json"))}
    options.page.write_text(performance_page.page(parts), encoding="utf-8")
    print(f"Saved in {options.page}.")


if __name__ == "__main__":
    main()
