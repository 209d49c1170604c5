"""Where corpora come from: one file a source, found by name.

>>> sorted(FAMILIES)
['captions', 'folder', 'scenes']
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from imgbench.corpus import Corpus
from imgbench.errors import InputError, unknown

FAMILIES = {
    "captions": "imgbench.corpora.captions:load",
    "folder": "imgbench.corpora.folder:load",
    "scenes": "imgbench.corpora.scenes:load",
}
"""Loader of each name, imported on first use; an entry point of the group imgbench.corpora adds to it."""

_OF_PATHS = frozenset(
    {"captions", "folder"}
)  # what follows their colon is a path even if it looks like a number


def load(spec: str | Path, **options: Any) -> Corpus:  # noqa: ANN401  each loader names its own
    """The corpus of `Corpus.load`."""
    text = str(spec)
    if text.startswith("~"):
        text = str(Path(text).expanduser())
    if Path(text).exists() and text not in FAMILIES:
        return _call(_family_of(Path(text)), (Path(text),), options)
    text, _, query = text.partition("?")
    options = {name: _literal(value) for name, value in parse_qsl(query, keep_blank_values=True)} | options
    family, colon, rest = text.partition(":")
    if not isinstance(spec, Path) and family in {*FAMILIES, *_plugins()}:
        given = (rest if family in _OF_PATHS else _literal(rest),) if colon else ()
        return _call(family, given, options)
    if Path(text).exists():
        return _call(_family_of(Path(text)), (Path(text),), options)
    raise _absent(text, family if colon else "")


def _call(family: str, given: tuple[Any, ...], options: Mapping[str, Any]) -> Corpus:
    loader = _loader(family)
    parameters = inspect.signature(loader).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in options:
        if name not in parameters and not open_ended:
            raise unknown(f"an option of the corpus {family!r}", name, parameters)
    if given and (twice := next((name for name in [*parameters][: len(given)] if name in options), None)):
        raise InputError(
            f"The {twice} of the corpus {family!r} came twice.",
            "What follows the colon says it already.",
            f"Leave out {twice}=.",
        )
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    if family in _OF_PATHS and not given and not {*needed} <= {*options}:
        raise InputError(
            f"The corpus {family!r} came without a path.",
            f"Wanted '{family}:PATH'.",
            "Name the folder or file.",
        )
    return loader(*given, **options)


def _loader(family: str) -> Callable[..., Corpus]:
    if family in FAMILIES:
        module, _, name = FAMILIES[family].partition(":")
        return getattr(import_module(module), name)
    return _plugins()[family].load()


def _plugins() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group="imgbench.corpora")}


def _family_of(path: Path) -> str:
    """Which loader reads this path: captions for a .jsonl file, or a folder of one without queries.csv."""
    if path.is_file():
        if path.suffix.lower() == ".jsonl":
            return "captions"
        raise InputError(
            f"{path} is a file.",
            "A corpus is a folder or a captions .jsonl file.",
            "Name the folder that holds it.",
        )
    captions = (path / "captions.jsonl").is_file() and not (path / "queries.csv").is_file()
    return "captions" if captions else "folder"


def _literal(text: str) -> int | float | bool | str:
    """The value that an option's text stands for.

    >>> _literal("20000"), _literal("0.5"), _literal("true"), _literal("test")
    (20000, 0.5, True, 'test')
    """
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _absent(text: str, family: str) -> InputError:
    if family == "hub":
        return InputError(
            f"{text!r} names a corpus of the Hub, which imgbench cannot load yet.",
            "Wanted a folder, captions.jsonl or 'scenes'.",
            "Save it as a folder with images/, queries.csv and qrels.csv.",
        )
    names = {*FAMILIES, *_plugins()} - _OF_PATHS
    if family or not {"/", "\\", "."}.isdisjoint(text):
        names |= {f"{name}:PATH" for name in _OF_PATHS}
    return unknown(
        "a corpus, nor a folder that exists", family or text, names, otherwise="Check the name or the path."
    )
