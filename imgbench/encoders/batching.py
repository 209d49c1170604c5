"""How many images at once make a GPU fast: found by trying."""

from __future__ import annotations

from collections.abc import Callable

LARGEST = 2048
GAIN = 1.05
"""A batch of twice the size has to be this much faster to be worth its memory and its waiting for images."""


def fastest(rate: Callable[[int], float], *, start: int, largest: int = LARGEST, gain: float = GAIN) -> int:
    """The batch from which doubling no longer pays; half of `start` and less only where memory is short.

    `rate` gives images a second in batches of a size, and raises torch.OutOfMemoryError where it does not
    fit.

    >>> fastest({64: 900.0, 128: 1500.0, 256: 1520.0}.__getitem__, start=64)
    128
    """
    import torch

    size, best = start, 0.0
    while not best:
        try:
            best = rate(size)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
    if size < start:
        return size
    while size * 2 <= largest:
        try:
            faster = rate(size * 2)
        except torch.OutOfMemoryError:
            return size
        if faster < gain * best:
            return size
        size, best = size * 2, faster
    return size


def cuda_seconds(call: Callable[[], object], device: str, repeats: int = 3) -> float:
    """The shortest of some runs of `call`, the GPU's own work included; one more comes first, untimed."""
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    spent: list[float] = []
    with torch.cuda.device(device):
        for _ in range(repeats + 1):
            begin.record()
            call()
            end.record()
            end.synchronize()
            spent.append(begin.elapsed_time(end) / 1e3)
    return min(spent[1:])
