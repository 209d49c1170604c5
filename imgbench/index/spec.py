"""Index specifications: a FAISS factory string and a grid of search parameters."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from imgbench.errors import InputError

Number: TypeAlias = int | float

_GPU = "gpu:"
_NAME = re.compile(r"[A-Za-z_]\w*")
_EXAMPLE = "Write it like IVF256,Flat?nprobe=1,4,16."


@dataclass(frozen=True)
class IndexSpec:
    """What an index is built from and which operating points of it are measured.

    >>> spec = IndexSpec.parse("IVF256,Flat?nprobe=1,4")
    >>> spec.factory, spec.gpu, spec.grid
    ('IVF256,Flat', False, ({'nprobe': 1}, {'nprobe': 4}))
    >>> [spec.key(params) for params in spec.grid]
    ['IVF256,Flat?nprobe=1', 'IVF256,Flat?nprobe=4']
    >>> IndexSpec.parse("gpu:Flat").grid
    ({},)
    """

    text: str
    factory: str
    gpu: bool
    grid: tuple[dict[str, Number], ...] = field(hash=False)

    @classmethod
    def parse(cls, text: str) -> IndexSpec:
        """The specification that `text` writes: `[gpu:]FACTORY[?name=value,value[&name=value]]`.

        The grid is the cross product of the values in the order written, the last name changing fastest.
        Malformed text, a name or a value given twice, or a value that is no number: InputError.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"An index specification is a {type(text).__name__}.", "It is text.", _EXAMPLE)
        stripped = text.strip()
        body = stripped.removeprefix(_GPU)
        factory, mark, query = body.partition("?")
        if not factory or re.search(r"\s", factory):
            raise InputError(
                f"{text!r} is not an index specification.", "It starts with a FAISS factory string.", _EXAMPLE
            )
        grid = _grid(stripped, query) if mark else ({},)
        return cls(stripped, factory, stripped.startswith(_GPU), grid)

    @property
    def name(self) -> str:
        """The specification without its grid: what is built, and where."""
        return (_GPU if self.gpu else "") + self.factory

    def key(self, params: Mapping[str, Number]) -> str:
        """The name of one operating point, its parameters in the order of the specification."""
        written = list(self.grid[0])
        names = [name for name in written if name in params] + [
            name for name in params if name not in written
        ]
        values = "&".join(f"{name}={params[name]}" for name in names)
        return f"{self.name}?{values}" if values else self.name


def _grid(text: str, query: str) -> tuple[dict[str, Number], ...]:
    axes: dict[str, list[Number]] = {}
    for part in query.split("&"):
        name, equals, values = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InputError(
                f"{part!r} in {text!r} is not a search parameter.",
                "One is written name=value,value.",
                _EXAMPLE,
            )
        if name in axes:
            raise InputError(
                f"{name} stands twice in {text!r}.",
                "Each parameter stands once with all its values.",
                f"Write {name}=1,4,16.",
            )
        axes[name] = _values(text, name, values)
    return tuple(dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values()))


def _values(text: str, name: str, values: str) -> list[Number]:
    numbers: list[Number] = []
    for word in values.split(","):
        number = _number(word)
        if number is None:
            raise InputError(
                f"{word!r} as a value of {name} in {text!r} is not a number.", "Values are numbers.", _EXAMPLE
            )
        if number in numbers:
            raise InputError(
                f"{name} has the value {word} twice in {text!r}.",
                "Each operating point is measured once.",
                "Remove one of them.",
            )
        numbers.append(number)
    return numbers


def _number(word: str) -> Number | None:
    if re.fullmatch(r"[+-]?\d{1,18}", word):
        return int(word)
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in word and word == word.strip() else None
