"""The checks at an encoder's doors: what comes in, and what a hook returned."""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from imgbench.errors import InputError


def array(rows: Any) -> Float32[np.ndarray, "row dim"]:
    """What a hook returned as float32, wherever it lay."""
    # A torch tensor may be bfloat16, which numpy does not know, and may lie on a GPU.
    values = rows.detach().float().cpu().numpy() if hasattr(rows, "detach") else rows
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return np.asarray(values, dtype=np.float32)


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list; InputError for a single string, an empty text or what is no text."""
    check_sequence(texts, "texts", (str, bytes))
    for position, text in enumerate(list[object](texts)):
        if not isinstance(text, str) or not text.strip():
            came = "is empty" if isinstance(text, str) else f"is a {type(text).__name__}"
            raise InputError(
                f"Text {position} {came}.",
                "Every text needs a word.",
                "Remove it or write what it should find.",
            )
    return list(texts)


def check_sequence(values: object, what: str, single: tuple[type, ...]) -> None:
    """InputError where one item came instead of a list."""
    if isinstance(values, single):
        raise InputError(
            f"A single {type(values).__name__} came as `{what}`.", "A list was expected.", "Put it into [ ]."
        )


def no_side(name: str, side: str) -> InputError:
    """The error for a side that an encoder lacks."""
    other = "image" if side == "text" else "text"
    return InputError(
        f"{name} encodes {other}s only.",
        f"An encoder with a {side} side was expected.",
        "Choose a CLIP-like encoder, such as 'open_clip:ViT-B-32-quickgelu/openai'.",
    )
