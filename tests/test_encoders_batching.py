"""The batch of a GPU is as large as pays, and as small as memory wants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from imgbench.encoders.batching import fastest


def machine(saturated: int, *, fits: int = 10**6) -> tuple[Callable[[int], float], list[int]]:
    """A GPU whose speed grows up to a batch of `saturated`, and whose memory ends above `fits`."""
    tried: list[int] = []

    def rate(size: int) -> float:
        tried.append(size)
        if size > fits:
            raise torch.OutOfMemoryError
        return float(min(size, saturated))

    return rate, tried


def test_doubling_goes_on_as_long_as_it_pays() -> None:
    rate, tried = machine(1024)
    assert fastest(rate, start=256) == 1024
    assert tried == [256, 512, 1024, 2048]


def test_a_batch_that_is_fast_already_stays() -> None:
    assert fastest(machine(64)[0], start=256) == 256


def test_the_largest_batch_is_a_limit() -> None:
    assert fastest(machine(10**6)[0], start=256, largest=512) == 512


def test_memory_is_a_limit_above_and_below() -> None:
    assert fastest(machine(10**6, fits=600)[0], start=256) == 512
    rate, tried = machine(10**6, fits=70)
    assert fastest(rate, start=256) == 64
    assert tried == [256, 128, 64]  # what failed is not tried again


def test_one_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        fastest(machine(10**6, fits=0)[0], start=4)
