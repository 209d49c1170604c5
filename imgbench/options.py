r"""Options from a TOML file, of the types that the command line gives them.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "bench.toml"
>>> _ = path.write_text('k = 20\nindex = "Flat"')
>>> read(path, {"k": int, "index": list[str]})
{'k': 20, 'index': ['Flat']}
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgbench.errors import InputError, unknown

_WANTED: dict[Any, str] = {
    str: "a text in quotes",
    Path: "a path in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list[str]: "a text or a list of texts",
}
_LISTS = ("clients", "batches")  # whole numbers, or a text with commas between them as on the command line
_MARGIN = "margin"  # a number or a text such as "1%", for all measures or in a table by measure


def read(path: Path, kinds: Mapping[str, Any], command: str = "imgbench run") -> dict[str, Any]:
    """What the file says, by name. InputError for names that `kinds` lacks and for values of another type.

    `kinds` gives each option str, Path, int, float, bool or list[str]; one text is a list of one.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read: {error}.", "A TOML file was expected.", "Check the path."
        ) from error
    found = {name.replace("-", "_"): value for name, value in found.items()}  # as on the command line
    for name in found:
        if name not in kinds:
            raise unknown(f"an option of {command}", name, kinds)
    return {name: _typed(name, value, kinds[name], path, command) for name, value in found.items()}


def _typed(name: str, value: Any, kind: Any, path: Path, command: str) -> Any:  # noqa: ANN401  TOML's values
    if name in _LISTS and not isinstance(value, str):
        return _joined(name, value if isinstance(value, list) else [value], path, command)
    values: list[Any] = [value]
    if kind == list[str]:
        value = values = value if isinstance(value, list) else [value]
    elif name == _MARGIN and isinstance(value, dict):
        values = list(value.values())
    loose = name == _MARGIN and not isinstance(value, bool)
    if not all(_fits(each, kind) or (loose and _fits(each, float)) for each in values):
        wanted = 'a number, "1%", or a table of them by measure' if name == _MARGIN else _WANTED[kind]
        raise InputError(f"{name} in {path} is {value!r}.", f"Wanted {wanted}.", f"See '{command} --help'.")
    return Path(str(value)) if kind is Path else value


def _joined(name: str, values: list[Any], path: Path, command: str) -> str:
    if not all(_fits(each, int) or _fits(each, str) for each in values):
        wanted = 'Wanted whole numbers, such as [1, 2, 4] or "1,2,4".'
        raise InputError(f"{name} in {path} is {values!r}.", wanted, f"See '{command} --help'.")
    return ",".join(map(str, values))


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401  a type, or list[str]
    if isinstance(value, bool):  # which Python counts as a number
        return kind is bool
    return isinstance(value, {int: int, float: (int, float), bool: bool}.get(kind, str))
