"""Threads are what the libraries grant, not what was asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from imgbench import environment

_ASKED = """
import imgbench.index
from imgbench import environment
with environment.threads(4) as granted:
    print(granted)
"""


@pytest.mark.parametrize(("limit", "granted"), [("1", 1), ("3", 3), ("64", 4)])
def test_a_limit_of_openmp_is_found_though_it_reads_back_what_was_asked(limit, granted):
    told = subprocess.run(
        [sys.executable, "-c", _ASKED],
        env=os.environ | {"OMP_THREAD_LIMIT": limit},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [str(granted)]


def test_openmp_keeps_its_threads_for_each_python_thread():
    import imgbench.index  # noqa: F401  its libraries bring OpenMP

    pools, seen = environment.Pools(), []

    def other():
        with pools.hold(3) as granted:
            seen.extend([granted, pools.granted()])

    with pools.hold(1):
        worker = threading.Thread(target=other)
        worker.start()
        worker.join()
        assert pools.granted() == 1
    assert seen == [3, 3]


def test_what_was_before_is_there_again():
    before = environment.Pools().granted()
    with environment.threads(before + 2) as granted:
        assert granted == before + 2 == environment.Pools().granted()
    assert environment.Pools().granted() == before
