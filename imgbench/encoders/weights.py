"""What a model's weights are, in one hash, and how they reach a device in a precision."""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from imgbench.types import Precision

_CHUNK = 1 << 22


def state_hash(model: Any) -> str:
    """sha256 (hex) of a torch module's state: names, dtypes, shapes and bytes of every tensor, by name.

    >>> import torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> before = state_hash(layer)
    >>> layer.weight.data += 1
    >>> state_hash(layer) == before
    False
    """
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if torch.is_tensor(value):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy().data)
    return digest.hexdigest()


def file_hash(path: Path | str) -> str:
    """sha256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def torch_dtype(precision: Precision) -> Any:
    """Torch's name of a precision."""
    import torch

    return {
        Precision.FP32: torch.float32,
        Precision.FP16: torch.float16,
        Precision.BF16: torch.bfloat16,
    }[precision]


def placed(model: Any, *, device: str, precision: Precision) -> Any:
    """The model in evaluation mode on its device, all of it in one precision; on a CPU a twin, packed for it.

    Weights are cast instead of running under autocast: on a CPU, bf16 weights are about four times faster
    than fp32 and than autocast, whose copies cost what the arithmetic saves.
    """
    import torch

    from imgbench.encoders.packed import packed

    model = model.to(device=device, dtype=torch_dtype(precision)).eval().requires_grad_(False)
    if device.startswith("cuda"):
        return model.to(memory_format=torch.channels_last)
    return packed(model)
