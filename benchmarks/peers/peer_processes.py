"""Environments of their own for the peers, and fresh processes in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer_said import STARTED, THREADS

HERE = Path(__file__).resolve().parent
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class Side:
    """A script, the interpreter that runs it, its arguments."""

    python: Path
    script: str
    arguments: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()  # environment variables

    def run(self, threads: int) -> dict[str, Any]:
        """What a fresh process of it says in its last line."""
        env = {**os.environ, **dict.fromkeys((*POOLS, THREADS), str(threads)), **dict(self.settings)}
        env[STARTED] = repr(time.time())
        done = subprocess.run(  # noqa: S603  our own scripts
            [str(self.python), str(HERE / self.script), *self.arguments],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{self.script} {' '.join(self.arguments)} failed:\n{done.stderr[-4000:]}")
        return said(done.stdout)


def said(output: str) -> dict[str, Any]:
    r"""The last line of what a script printed: libraries may print before it.

    >>> said('loading...\n{"figures": {"read": 0.5}}\n')
    {'figures': {'read': 0.5}}
    """
    return json.loads(output.strip().splitlines()[-1])


def environment(name: str, folder: Path) -> Path:
    """The interpreter of a peer's environment, made with the versions of requirements-NAME.txt if need be."""
    home, wanted = folder / name, (HERE / f"requirements-{name}.txt").read_text(encoding="utf-8")
    python, done = home / "bin" / "python", home / "installed.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print(f"installing {name} in {home}", flush=True)
        venv.create(home, with_pip=True, clear=True)
        (home / ".gitignore").write_text("*\n", encoding="utf-8")
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run(  # noqa: S603  our own list of versions
            [str(python), *install, "-r", str(HERE / f"requirements-{name}.txt")], check=True
        )
        done.write_text(wanted, encoding="utf-8")
    return python


def alternate(sides: Mapping[str, Side], *, times: int, threads: int) -> dict[str, list[dict[str, Any]]]:
    """Each side `times` times, one after the other (A B A B), so that a slow minute hits all of them."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(times):
        for name, side in sides.items():
            found[name].append(side.run(threads))
    return found


def spread(runs: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Median, lowest and highest of a figure.

    >>> spread([{"figures": {"a": 3.0}}, {"figures": {"a": 1.0}}, {"figures": {"a": 2.0}}], "a")
    [2.0, 1.0, 3.0]
    """
    values = [float(run["figures"][key]) for run in runs]
    return [statistics.median(values), min(values), max(values)]


OURS = Path(sys.executable)
