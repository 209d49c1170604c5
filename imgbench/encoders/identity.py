"""What an own encoder is, as far as Python can see: its source and its weights."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import cast

import numpy as np

from imgbench.encoders import checks, weights


def source_hash(kind: type, base: type) -> str | None:
    """sha256 (hex) of the source of a class and of those between it and `base`, or None without any."""
    between = [each for each in kind.__mro__ if issubclass(each, base) and each is not base]
    try:
        return hashlib.sha256("".join(map(inspect.getsource, between)).encode()).hexdigest()
    except (OSError, TypeError):  # a class typed at a prompt has no source
        return None


def attributes(values: dict[str, object]) -> dict[str, str]:
    """What can be said of an object's attributes; plain settings only of names without an underscore."""
    found = ((key, described(value)) for key, value in sorted(values.items()) if not _private(key, value))
    return {key: text for key, text in found if text}


def _private(name: str, value: object) -> bool:
    return name.startswith("_") and isinstance(value, (bool, int, float, list, tuple, dict))


def described(value: object) -> str | None:
    """A number, a text, a path, an array, a torch module or a list, tuple or dict of them in one line.

    None for anything else.
    """
    if isinstance(value, (str, Path)):
        return str(value)
    if isinstance(value, (bool, int, float, np.generic)):
        return repr(value)
    if hasattr(value, "state_dict") and hasattr(value, "parameters"):
        return weights.state_hash(value)
    if isinstance(value, np.ndarray) or hasattr(value, "detach"):
        array = checks.array(value) if hasattr(value, "detach") else np.ascontiguousarray(value)
        return f"{array.dtype}{array.shape}:{hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(value, dict):
        value = [part for pair in cast("dict[object, object]", value).items() for part in pair]
    if isinstance(value, (list, tuple)):
        parts = [described(part) for part in cast("list[object]", value)]
        return f"{len(parts)}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"
    return None
