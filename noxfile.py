"""The sessions of imgbench: `nox -s bench`, `performance`, `tests`, `lint`. They share the environment `env`.

The first session installs everything (a few minutes, several GB); after that, sessions start in seconds.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint"]
nox.options.envdir = ".nox"

PYPROJECT = nox.project.load_toml("pyproject.toml")
ENVIRONMENT = Path(".nox", "env").resolve()
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
BENCH_OUT = Path("bench-out")


@nox.session(venv_backend="venv", reuse_venv=True, default=False)
def env(session: nox.Session) -> None:
    """The shared environment: the package and its tools, in the versions that were tested."""
    groups = nox.project.dependency_groups(PYPROJECT, "tests", "lint")
    session.install("--constraint", "constraints.txt", "--editable", ".", *groups)


@nox.session(venv_backend="none", requires=["env"])
def bench(session: nox.Session) -> None:
    """The main job, then how fast imgbench itself is; both are saved in bench-out, the table comes last.

    Arguments after -- go to `imgbench run`: nox -s bench -- --corpus my_folder --encoder metaclip-1.2
    """
    out = _chosen(session.posargs)
    _run(session, "imgbench", "run", "--out", str(BENCH_OUT), *session.posargs)
    _run(
        session, "pytest", "benchmarks", "-q", "--no-header", "--benchmark-enable", "--benchmark-only",
        "--benchmark-columns=median,iqr,rounds", f"--benchmark-json={out / 'speed.json'}",
    )  # fmt: skip
    _run(session, "python", "benchmarks/ratios.py", str(out / "speed.json"))
    _run(session, "imgbench", "report", str(out))


@nox.session(venv_backend="none", requires=["env"], default=False)
def performance(session: nox.Session) -> None:
    """docs/performance.md, measured anew in about 25 minutes: close other programs first.

    Arguments after -- go to benchmarks/performance.py: nox -s performance -- --only stages
    """
    _run(session, "python", "benchmarks/performance.py", *session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def tests(session: nox.Session) -> None:
    """Every test, the docstrings' examples, the README's, the notebook. Arguments after -- go to pytest."""
    _run(session, "pytest", *session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def lint(session: nox.Session) -> None:
    """ruff, pyright in strict mode, and the order of the imports."""
    _run(session, "ruff", "check", ".")
    _run(session, "ruff", "format", "--check", ".")
    _run(session, "pyright", "--pythonpath", str(BIN / "python"))
    _run(session, "lint-imports")


def _run(session: nox.Session, program: str, *arguments: str) -> None:
    """A program of the shared environment."""
    session.run(str(BIN / program), *arguments, external=True)


def _chosen(posargs: list[str]) -> Path:
    """The folder that the last --out names."""
    outs = [second for first, second in pairwise(posargs) if first == "--out"]
    outs += [word.removeprefix("--out=") for word in posargs if word.startswith("--out=")]
    return Path(outs[-1]) if outs else BENCH_OUT
