"""The sessions of imgbench: `nox -s bench`, `nox -s tests`, `nox -s lint`. They share one environment.

The first session installs everything (a few minutes); after that, sessions start in seconds.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint"]
nox.options.default_venv_backend = "venv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
ENVIRONMENT = ".nox/imgbench"
BENCH_OUT = Path("bench-out")


def _install(session: nox.Session) -> None:
    """The package and its tools, in the versions that were tested."""
    groups = nox.project.dependency_groups(PYPROJECT, "tests", "lint")
    session.install("--constraint", "constraints.txt", "--editable", ".", *groups)


@nox.session(venv_location=ENVIRONMENT, reuse_venv=True)
def bench(session: nox.Session) -> None:
    """The main job, then how fast imgbench itself is; both are saved in bench-out, the table comes last.

    Arguments after -- go to `imgbench run`: nox -s bench -- --corpus my_folder --encoder metaclip-1.2
    """
    _install(session)
    session.run("imgbench", "run", "--out", str(BENCH_OUT), *session.posargs)
    out = _chosen(session.posargs)
    speeds = out / "speed.json"
    session.run(
        "pytest", "benchmarks", "-q", "--no-header", "--benchmark-enable", "--benchmark-only",
        "--benchmark-columns=median,iqr,rounds", f"--benchmark-json={speeds}",
    )  # fmt: skip
    session.run("python", "benchmarks/ratios.py", str(speeds))
    session.run("imgbench", "report", str(out))


@nox.session(venv_location=ENVIRONMENT, reuse_venv=True)
def tests(session: nox.Session) -> None:
    """Every test, the docstrings' examples, the README's, the notebook. Arguments after -- go to pytest."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session(venv_location=ENVIRONMENT, reuse_venv=True)
def lint(session: nox.Session) -> None:
    """ruff, pyright in strict mode, and the order of the imports."""
    _install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyright", "--pythonpath", str(Path(session.virtualenv.bin) / "python"))
    session.run("lint-imports")


def _chosen(posargs: list[str]) -> Path:
    """The folder that the last --out names."""
    outs = [second for first, second in pairwise(posargs) if first == "--out"]
    outs += [word.removeprefix("--out=") for word in posargs if word.startswith("--out=")]
    return Path(outs[-1]) if outs else BENCH_OUT
