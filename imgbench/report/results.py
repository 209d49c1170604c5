"""results.json: checked, read, written, and what stands in it found."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path, PurePosixPath
from typing import Any

from imgbench.errors import InputError
from imgbench.report.schema import FORM, Each, Maybe

SCHEMA = 1
FILE = "results.json"
Results = dict[str, Any]


VERDICTS = ("holds", "degrades", "inconclusive")
_OVERLAP = re.compile(r"overlap@[1-9][0-9]*")
_RUN = re.compile(r"runs/[A-Za-z0-9_][A-Za-z0-9_.-]*\.trec\.gz")
_WORDS = {str: "a text", int: "a whole number", float: "a number"}


def checked(results: object) -> Results:
    """The results as plain Python values, or an InputError that names the first key that is wrong."""
    found = _plain(results, "results")
    if not isinstance(found, dict):
        raise _wrong("results", found, "an object")
    if found.get("schema") != SCHEMA or isinstance(found.get("schema"), bool):
        raise InputError(
            f"The results have the schema {found.get('schema')!r}.",
            f"This version reads schema {SCHEMA}.",
            "Use the imgbench version that wrote them, or run the benchmark again.",
        )
    _check(found, FORM, "results")
    for number, point in enumerate(found["points"]):
        _check_point(point, f"results.points[{number}]", found)
    _check_names(found)
    return found


def read(folder: Path) -> Results:
    """The checked results.json of a folder."""
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"There is no {FILE} in {str(folder)!r}.",
            "A saved report is a folder with one.",
            "Pass the folder that was given to --out.",
        )
    try:
        found = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        came = f"{str(path)!r} is not JSON ({str(error)[:200]})."
        raise InputError(came, "A whole results.json is needed.", "Copy or write it again.") from None
    return checked(found)


def write(results: Results, path: Path) -> None:
    """The same results give the same bytes: keys in their order, indent 1, ASCII, never NaN."""
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="ascii", newline="\n")


def overlap(point: Results) -> tuple[int, float]:
    """The depth k and the mean of a point's `overlap@k`."""
    name = next(key for key in point if _OVERLAP.fullmatch(key))
    return int(name.partition("@")[2]), float(point[name])


def run_files(point: Results) -> dict[str, str]:
    """The runs of a point, name -> file: its own under its key, and those of further builds."""
    further = [(each["name"], each["run"]) for each in point.get("builds") or ()]
    return {point["key"]: point["run"]} | dict(further)


def margin_of(results: Results, point: Results, measure: str) -> float | None:
    """The margin of a point in units of the measure; it has its own where the margin was a share."""
    found = point["delta"].get(measure, {}).get("margin")
    return results["margin"].get(measure) if found is None else found


def measures(results: Results) -> list[str]:
    """The names of the measures, in the order in which they were asked."""
    return list(results["points"][0]["quality"]) if results["points"] else list(results["margin"])


def primary(results: Results) -> str:
    """The measure that the headline speaks of: the first with a margin, nDCG@10 unless told otherwise."""
    asked = measures(results)
    return next((name for name in results["margin"] if name in asked), asked[0] if asked else "")


def points_of(results: Results, encoder: str) -> list[Results]:
    """The points of one encoder, in their order."""
    return [point for point in results["points"] if point["encoder"] == encoder]


def exact_of(results: Results, encoder: str) -> Results | None:
    """Exact search of one encoder, or None where the report has none."""
    found = (point for point in points_of(results, encoder) if point["key"] == results["baseline"])
    return next(found, None)


def _plain(value: Any, where: str) -> Any:  # noqa: ANN401  JSON is any
    """Values of numpy and of enums as plain ones, tuples as lists, no number that JSON cannot hold."""
    if isinstance(value, dict):
        return {str(key): _plain(each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{where}[{at}]") for at, each in enumerate(value)]
    if isinstance(value, str):
        return str(value)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, value, "a finite number or null")
    return value


def _check(value: Any, form: object, where: str) -> None:  # noqa: ANN401
    if isinstance(form, Maybe):
        if value is not None:
            _check(value, form.form, where)
    elif isinstance(form, dict):
        _check_keys(value, form, where)
    elif isinstance(form, Each):
        for key, each in _typed(value, dict, where, "an object").items():
            _check(each, form.form, f"{where}.{key}")
    elif isinstance(form, list):
        for at, each in enumerate(_typed(value, list, where, "a list")):
            _check(each, form[0], f"{where}[{at}]")
    elif isinstance(form, type) and form in _WORDS:
        kinds = (int, float) if form is float else form
        _typed(value, kinds, where, _WORDS[form])


def _check_keys(value: Any, form: dict[str, object], where: str) -> None:  # noqa: ANN401
    _typed(value, dict, where, "an object")
    for key, each in form.items():
        if key in value:
            _check(value[key], each, f"{where}.{key}")
        elif not isinstance(each, Maybe):
            raise InputError(
                f"{where}.{key} is missing.", "results.json has this key.", "Run the benchmark again."
            )


def _typed(value: Any, kinds: Any, where: str, words: str) -> Any:  # noqa: ANN401
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise _wrong(where, value, words)
    return value


def _check_point(point: Results, where: str, results: Results) -> None:
    if not any(_OVERLAP.fullmatch(key) and isinstance(point[key], float | int) for key in point):
        raise InputError(
            f"{where} has no overlap@k.", "Each point says its overlap with exact search.", "Run it again."
        )
    for path in run_files(point).values():
        if not _RUN.fullmatch(path) or ".." in PurePosixPath(path).parts:
            # results.json may come from anyone: no name in it may lead out of its folder.
            raise _wrong(f"{where}.run", path, "a file name like runs/3.trec.gz")
    if list(point["quality"]) != measures(results):
        raise _wrong(f"{where}.quality", list(point["quality"]), f"the measures {measures(results)}")
    for measure, delta in point["delta"].items():
        if delta["verdict"] not in VERDICTS:
            raise _wrong(
                f"{where}.delta.{measure}.verdict", delta["verdict"], f"one of {', '.join(VERDICTS)}"
            )


def _check_names(results: Results) -> None:
    names: list[str] = [encoder["name"] for encoder in results["encoders"]]
    keys: list[tuple[str, str]] = [
        (point["encoder"], key) for point in results["points"] for key in run_files(point)
    ]
    files: list[str] = [path for point in results["points"] for path in run_files(point).values()]
    kinds: dict[str, list[Any]] = {"encoder": names, "point": keys, "run file": files}
    for kind, given in kinds.items():
        if len(set(given)) != len(given):
            twice = next(each for each in given if given.count(each) > 1)
            raise InputError(f"The {kind} {twice!r} is there twice.", "Names are unique.", "Name each once.")
    if stray := {encoder for encoder, _ in keys} - set(names):
        raise _wrong("results.points", sorted(stray), f"encoders of the list {names}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _wrong(where: str, value: object, wanted: str) -> InputError:
    return InputError(f"{where} is {value!r:.80}.", f"Wanted {wanted}.", "Run the benchmark again.")
