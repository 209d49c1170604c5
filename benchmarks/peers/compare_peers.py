"""imgbench beside other libraries on the same inputs: compare_peers.py [--peer NAME ...]

Each peer has an environment of its own, made once from requirements-NAME.txt. Both sides run in fresh
processes that take turns, with the same number of threads. The figures are kept in
benchmarks/measured/peers.json; those of the peers that were not asked for stay as they were, with their date,
machine and number of processes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peer_inputs
from peer_processes import environment
from peer_rows import autofaiss, clip_benchmark, ir_measures, ranx

from imgbench import environment as machine

ROOT = Path(__file__).resolve().parents[2]
PEERS: dict[str, Callable[[Path, Path, int, int], list[dict[str, Any]]]] = {
    "ir-measures": ir_measures,
    "ranx": ranx,
    "clip-benchmark": clip_benchmark,
    "autofaiss": autofaiss,
}
NEEDS_DATA = {"clip-benchmark", "autofaiss"}


def main() -> None:
    options = _options()
    kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
    rows, stamps = kept.get("rows", []), kept.get("peers", {})
    for name in options.peer:
        if name in NEEDS_DATA and not peer_inputs.data().is_dir():
            print(f"{name}: skipped, {peer_inputs.data()} is missing. IMGBENCH_DATA names its place.")
            continue
        python, start = environment(name, options.folder.resolve()), time.perf_counter()
        found = PEERS[name](python, options.folder.resolve(), options.threads, options.times)
        rows = [row for row in rows if row["family"] != name] + [row | {"family": name} for row in found]
        stamps[name] = _stamp(found, options)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    order = list(PEERS)
    part = {
        "command": "python benchmarks/peers/compare_peers.py",
        "peers": {name: stamps[name] for name in order if name in stamps},
        "rows": sorted(rows, key=lambda row: order.index(row["family"])),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(part, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.path.append(str(ROOT / "benchmarks"))
    from performance_page import shown

    table, remarks = shown(part)
    print("\n".join(["", table, "", *remarks]))


def _stamp(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """When and where the figures of one peer were measured, and in how many processes of each side."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "environment": machine.describe(),
        "versions": rows[0]["versions"],
        "threads": options.threads,
        "runs": options.times,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peer", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "bench-out" / "peers", help="7 GB of environments"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "measured" / "peers.json")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--times", type=int, default=3, help="processes of each side")
    return parser.parse_args()


if __name__ == "__main__":
    main()
