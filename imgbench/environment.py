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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

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


class Pools:
    """The OpenMP and BLAS pools of the libraries that are loaded now.

    OpenMP keeps its number of threads for each Python thread, BLAS may have one for the process. To find the
    pools takes milliseconds, to set and to read them microseconds.
    """

    def __init__(self) -> None:
        from threadpoolctl import ThreadpoolController

        self._found: ThreadpoolController = ThreadpoolController()

    def granted(self) -> int:
        """The threads that the calling Python thread gets: of the largest OpenMP pool, or of BLAS alone.

        OMP_THREAD_LIMIT counts too: OpenMP reads back what was asked and grants no more than that limit.
        """
        found = self._found.lib_controllers
        parallel = [pool for pool in found if pool.user_api == "openmp"]
        return max((min(int(pool.num_threads), _limit(pool)) for pool in parallel or found), default=1)

    @contextlib.contextmanager
    def hold(self, count: int) -> Generator[int]:
        """Every pool at `count` threads, for the calling Python thread; gives the number that was read back.

        Where several Python threads hold the same number, one hold has to be around all of theirs: BLAS may
        have one number for all of them, and whoever ends last would leave it as it was found.
        """
        with self._found.limit(limits=count):
            yield self.granted() if self._found.lib_controllers else count


@contextlib.contextmanager
def threads(count: int) -> Generator[int]:
    """Hold every OpenMP and BLAS pool at `count` threads; gives the number that was read back.

    faiss and torch may bring two OpenMP libraries or share one, depending on which was imported first: all
    pools are set, and the largest one read back is what a report may name.

    >>> with threads(1) as read_back:
    ...     read_back
    1
    """
    with Pools().hold(count) as read_back:
        yield read_back


def _limit(pool: Any) -> int:  # noqa: ANN401  a controller of threadpoolctl with its library
    limit = getattr(pool.dynlib, "omp_get_thread_limit", None)
    return sys.maxsize if limit is None else int(limit())
