"""One kind of error for wrong input: what came, what was wanted, what to do.

>>> unknown("an encoder family", "toi", ["open_clip", "timm", "transformers"])
InputError("'toi' is not an encoder family. Known: open_clip, timm, transformers. Did you mean 'timm'?")
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 12  # names listed before an error becomes unreadable


class InputError(ValueError):
    """The input or the usage was wrong: the message has three short sentences and nothing was written.

    >>> raise InputError("k is 0.", "A search needs k >= 1.", "Pass k=10.")
    Traceback (most recent call last):
    imgbench.errors.InputError: k is 0. A search needs k >= 1. Pass k=10.
    """

    def __init__(self, came: str, wanted: str, do: str) -> None:
        super().__init__(f"{came} {wanted} {do}")
        self.came, self.wanted, self.do = came, wanted, do

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return type(self), (self.came, self.wanted, self.do)


class UnreadableImageError(InputError):
    """One image whose bytes do not decode: counted and listed where a corpus is embedded."""


def unknown(kind: str, name: str, known: Iterable[str], *, otherwise: str | None = None) -> InputError:
    """The error for a name that is in no table: `kind` with its article, the known names, the nearest one."""
    names = sorted(known)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    wanted = f"Known: {', '.join(names[:_SHOWN])}{more}."
    advice = _advice(name, names, otherwise or "Choose one of these.")
    return InputError(f"{name!r} is not {kind}.", wanted, advice)


def _advice(name: str, names: list[str], otherwise: str) -> str:
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    return f"Did you mean {lower[near[0]]!r}?" if near else otherwise
