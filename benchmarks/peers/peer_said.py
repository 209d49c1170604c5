"""What every script of this folder prints at its end: figures as one line of JSON. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib import metadata

STARTED, THREADS = "PEER_STARTED", "PEER_THREADS"  # set by peer_processes.py


def threads() -> int:
    """How many threads this process may use; the libraries' own variables say the same."""
    return int(os.environ[THREADS])


def since_start() -> float:
    """Seconds since the process was started: the interpreter and all imports are part of them."""
    return time.time() - float(os.environ[STARTED])


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    return statistics.median(seconds(call) for _ in range(repeats))


def say(
    figures: dict[str, float], answers: dict[str, float], packages: tuple[str, ...], **more: object
) -> None:
    """The line that the driver reads: figures to compare, answers that must be equal, versions."""
    versions: dict[str, str] = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):  # imgbench may run from a checkout
            versions[name] = metadata.version(name)
    print(json.dumps({"figures": figures, "answers": answers, "versions": versions, **more}), flush=True)
