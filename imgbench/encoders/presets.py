"""Models worth measuring, by short names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A model's specification and what to know before choosing it."""

    spec: str
    revision: str | None = None


PRESETS: dict[str, Preset] = {}
