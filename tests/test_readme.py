"""What README says of names and defaults is what the code says. Its examples run as doctests."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main

import imgbench
from imgbench.benchmark import MARGIN
from imgbench.cli import app
from imgbench.encoders import families, presets
from imgbench.index import IndexSpec

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every `imgbench ...` command of README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("imgbench ")]


def test_the_two_commands_stand_there_alone() -> None:
    lines = README.splitlines()
    assert lines.count("python -m pip install nox && nox -s bench") == 1
    assert lines.count("python -m pip install nox && nox -s tests") == 1


def test_code_comes_by_line_ten() -> None:
    assert any("import imgbench" in line for line in README.splitlines()[:10])


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_exists_with_its_options(command: list[str]) -> None:
    found = typer.main.get_command(app).commands[command[1]]
    known = {option for parameter in found.params for option in parameter.opts}
    given = [word for word in command[2:] if word.startswith("--")]
    assert set(given) <= known
    for name, value in pairwise(command):
        if name == "--index":
            IndexSpec.parse(value)
        if name == "--encoder":
            assert value in presets.PRESETS or value.partition(":")[0] in families.names()


def test_defaults_are_those_of_the_code() -> None:
    assert f"default {MARGIN})" in README


def test_the_map_names_files_that_exist() -> None:
    table = README.partition("## A map of the code")[2]
    names = [
        name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`([^`]+)`", row)
    ]
    assert len(names) > 10
    for name in names:
        if name.endswith((".py", "/")):
            assert (ROOT / "imgbench" / name).exists(), name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_version_is_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{imgbench.__version__}"' in project
    assert f"## {imgbench.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
