"""Fixtures that every test may use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# No test may find what an earlier version of the code put into the cache of whoever runs it.
os.environ["IMGBENCH_CACHE"] = tempfile.mkdtemp(prefix="imgbench-tests-")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photographs, or a skip with the reason."""
    folder = Path(os.environ.get("IMGBENCH_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "vectors").is_dir():
        pytest.skip(f"no photographs at {folder}: set IMGBENCH_DATA to their folder")
    return folder
