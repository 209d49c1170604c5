"""How much of a run a second run of the same command takes: embeddings and indexes come from the cache.

    python benchmarks/cached_run.py --corpus scenes

runs `imgbench run` twice, each in a process of its own, the first with an empty cache, and prints both wall
times, what each spent where, and their ratio. Every search is timed again in the second run: latencies and
throughputs are never read from a cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = 12  # of a run, the longest first


def main() -> None:
    options, rest = _options()
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_run(options.corpus, rest, Path(folder), number) for number in (1, 2)]
    print(f"first run {seconds[0]:.1f} s, second run {seconds[1]:.1f} s: {seconds[1] / seconds[0]:.1%}")


def _run(corpus: str | None, rest: list[str], folder: Path, number: int) -> float:
    """Wall seconds of one run, from the start of its process to its end."""
    out = folder / f"out{number}"
    asked = [f"--corpus={corpus}"] if corpus else []
    start = time.perf_counter()
    subprocess.run(  # noqa: S603  our own command
        [
            sys.executable,
            "-m",
            "imgbench.cli",
            "run",
            *asked,
            *rest,
            f"--out={out}",
            f"--cache={folder}/cache",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - start
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    built = sum(not point["cached"] for point in results["points"])
    print(f"run {number}: {seconds:.1f} s, {built} of {len(results['points'])} points of indexes built now")
    stages = sorted(results["profile"]["stages"], key=lambda stage: -stage["seconds"])
    for stage in [each for each in stages if each["depth"] == 0][:STAGES]:
        print(f"    {stage['seconds']:7.2f} s  {stage['stage']}")
    return seconds


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", help="what imgbench run takes; other options of it follow as they are")
    return parser.parse_known_args()


if __name__ == "__main__":
    main()
