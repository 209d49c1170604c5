"""How a GPU is kept busy: batches of a size found by trying, and copies that wait for nothing."""

# ruff: noqa: ANN401  tensors of a library without types

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LARGEST = 2048
TRIAL = 16
"""Batches from which on it pays to try other sizes: a trial costs the time of at least a dozen."""
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
    """Seconds of one of some calls in a row, the GPU's own work included; one more comes first, untimed.

    In a row, as batches come: what a call does before the GPU starts then hides behind the call before it.
    """
    import torch

    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        call()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
    return begin.elapsed_time(end) / 1e3 / repeats


def in_parts(call: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    """`call(items)`: in halves, and halves of these, where a device's memory does not hold them at once.

    >>> in_parts(lambda items: np.array(items), [1, 2, 3]).tolist()
    [1, 2, 3]
    """
    import torch

    try:
        return call(items)
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    # Outside of the handler, which would keep what the failed attempt holds.
    give_back()
    half = len(items) // 2
    rows = in_parts(call, items[:half]), in_parts(call, items[half:])
    return torch.cat(rows) if torch.is_tensor(rows[0]) else np.concatenate(rows)


def give_back() -> None:
    """Free the memory that torch keeps on GPUs for later: others may need it, FAISS for one."""
    import torch

    torch.cuda.empty_cache()


def moved(tensors: Sequence[Any], device: str, *, channels_last: bool = False) -> Any:
    """The tensors of the CPU as one on the device; `channels_last` (channel, height, width) in that layout.

    On a GPU the copy is only begun, from pinned memory, which torch keeps until the copy has ended.

    >>> import torch
    >>> moved([torch.zeros(3, 4, 5)] * 2, "cpu", channels_last=True).stride()
    (60, 1, 15, 3)
    """
    import torch

    parts = [each.permute(1, 2, 0) for each in tensors] if channels_last else list(tensors)
    shape, pinned = (len(parts), *parts[0].shape), device.startswith("cuda")
    stacked = torch.empty(shape, dtype=parts[0].dtype, pin_memory=pinned)
    torch.stack(parts, out=stacked)
    batch = stacked.to(device, non_blocking=True)
    return batch.permute(0, 3, 1, 2) if channels_last else batch


class Returning:
    """Rows on a GPU, on their way to main memory: the copy comes before whatever the GPU is asked next.

    `np.asarray` waits for them alone. `rows.cpu()`, called when the next batch had been handed over, would
    wait for that one too, and leave the GPU without work until the one after it was ready.
    """

    def __init__(self, rows: Any) -> None:
        import torch

        self._rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        self._rows.copy_(rows, non_blocking=True)
        self._done = torch.cuda.Event(blocking=True)  # waits asleep: the decoding threads have the core
        self._done.record(torch.cuda.current_stream(rows.device))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """The rows, once they are here."""
        self._done.synchronize()
        return np.array(self._rows.numpy(), dtype=dtype, copy=copy)
