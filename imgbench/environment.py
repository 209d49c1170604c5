"""What the figures depend on: machine, packages, threads."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Generator
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "imgbench", "faiss-gpu", "faiss-cpu", "torch", "torchvision", "open_clip_torch", "transformers", "timm",
    "numpy", "pillow", "datasets", "ir-measures", "pytrec-eval-terrier", "pyarrow", "pandas",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Python, package versions, processor, GPU and git state: the `environment` of results.json."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages(),
        "cpu": cpu(),
        "cores": cores(),
        "gpu": gpu(),
        "git": git(),
    }


def packages() -> dict[str, str]:
    """The installed versions of the packages that results depend on."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def gpu() -> str | None:
    """The first CUDA device's name, or None. torch is asked only if it is loaded already."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return None


def git() -> str | None:
    """The commit of the working folder, with '+changes' if it differs, or None outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  fixed arguments
            ["git", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@contextlib.contextmanager
def threads(count: int) -> Generator[int]:
    """Hold every OpenMP and BLAS pool at `count` threads; gives the number that was read back.

    faiss and torch may bring two OpenMP libraries or share one, depending on which was imported first: all
    pools are set, and the largest one read back is what a report may name.

    >>> with threads(1) as read_back:
    ...     read_back
    1
    """
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(limits=count):
        pools = [int(pool["num_threads"]) for pool in threadpool_info()]
        yield max(pools, default=count)
