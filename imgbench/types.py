"""Words that become types on arrival."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL.Image import Image

ImageInput: TypeAlias = "Path | str | bytes | Image"
"""An image as a caller may hand it over: a path, encoded bytes, or a PIL image."""


class Precision(StrEnum):
    """Arithmetic of an encoder's forward pass."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
