"""What an own encoder is, as far as Python can see: its source and its weights."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path

import numpy as np

from imgbench.encoders import weights


def source_hash(kind: type) -> str | None:
    """sha256 (hex) of a class's source text, or None where there is none."""
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (OSError, TypeError):  # a class typed at a prompt has no source
        return None


def described(value: object) -> str | None:
    """A string, a path, an array or a torch module in one line; None for anything else."""
    if isinstance(value, (str, Path)):
        return str(value)
    if isinstance(value, np.ndarray):
        return (
            f"{value.dtype}{value.shape}:{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
        )
    if hasattr(value, "state_dict") and hasattr(value, "parameters"):
        return weights.state_hash(value)
    return None
