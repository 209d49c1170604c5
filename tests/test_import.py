"""The front door is light: nothing heavy is imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import imgbench

HEAVY = ("torch", "faiss", "numpy", "transformers", "open_clip", "timm", "pandas", "matplotlib", "PIL")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["imgbench", "imgbench.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    loaded = python(f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded == ""


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['imgbench', '--help']\n"
        "from imgbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    printed = python(code)
    assert "verify" in printed
    assert printed.splitlines()[-1] == "LOADED"


def test_every_public_name_is_there() -> None:
    for name in imgbench.__all__:
        assert getattr(imgbench, name).__module__.startswith("imgbench.")
    assert set(imgbench.__all__) == set(imgbench._HOMES)
    assert set(imgbench.__all__) <= set(dir(imgbench))


@pytest.mark.parametrize("name", ["benchmark", "funnel"])
def test_a_function_is_not_shadowed_by_its_module(name: str) -> None:
    code = f"import imgbench.{name}, imgbench as ib; ib.embed; print(callable(ib.{name}))"
    assert python(code) == "True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Indx'"):
        imgbench.Indx  # noqa: B018
