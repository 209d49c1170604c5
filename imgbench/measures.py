"""Measures by the names of ir-measures: `nDCG@10`, `AP(rel=2)@100`, `Success@1`.

ir-measures' own parser needs syntax-tree classes that Python 3.14 removed, and reports mistakes by
assertions: names are read here, and become measure objects of ir-measures.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures
from ir_measures import Measure

from imgbench.errors import InputError, unknown

_BASE = re.compile(r"\s*(\w+)(.*)", re.DOTALL)


def parse(measures: str | Measure | Iterable[str | Measure]) -> tuple[Measure, ...]:
    """The measures as checked objects of ir-measures, in their order, each once.

    >>> parse(["nDCG@10", "AP(rel=2)@10", "nDCG@10"])
    (nDCG@10, AP(rel=2)@10)
    """
    if isinstance(measures, str | Measure) or not isinstance(measures, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        measures = [measures]
    found = tuple({str(measure): measure for measure in map(_parsed, measures)}.values())
    if not found:
        raise InputError("No measure came.", "Scoring needs at least one.", "Pass ['nDCG@10'].")
    return found


def _parsed(measure: str | Measure) -> Measure:
    if not isinstance(measure, str | Measure):  # pyright: ignore[reportUnnecessaryIsInstance]
        wanted = "A measure is a name or an object of ir-measures."
        raise InputError(f"A measure came as {type(measure).__name__}.", wanted, "Pass 'nDCG@10'.")
    made = _from_name(measure) if isinstance(measure, str) else measure
    _check_parameters(made)
    return made


def _from_name(name: str) -> Measure:
    found = _BASE.match(name)
    base, rest = (found[1], found[2]) if found else (name, "")
    known: Mapping[str, Measure] = ir_measures.measures.registry
    if base not in known:
        # Suggested as the caller wrote it: 'nDGC@10' -> 'nDCG@10'.
        raise unknown("a measure", name, [f"{other}{rest}" for other in known])
    parameters = _parameters(name, known[base])
    return known[base](**parameters)


def _parameters(name: str, measure: Measure) -> dict[str, Any]:
    """`cutoff=10, rel=2` of 'AP(rel=2)@10'."""
    try:
        node = ast.parse(name.strip(), mode="eval").body
        at = {}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            at = {measure.AT_PARAM: ast.literal_eval(node.right)}
            node = node.left
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            given = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
            return given | at
        if isinstance(node, ast.Name):
            return at
    except (SyntaxError, ValueError):
        pass
    raise InputError(
        f"{name!r} does not parse as a measure.",
        "The form is Name(parameter=value)@cutoff.",
        "Write for example 'nDCG@10' or 'AP(rel=2)@10'.",
    )


def _check_parameters(measure: Measure) -> None:
    allowed = measure.SUPPORTED_PARAMS
    for name, value in measure.params.items():
        if name not in allowed:
            raise unknown(f"a parameter of {measure.NAME}", name, allowed)
        if not allowed[name].validate(value) or isinstance(value, bool) != (allowed[name].dtype is bool):
            raise _invalid(measure, f"has {name}={value!r}", _wanted(allowed[name]))
    if measure.params.get("cutoff", 1) < 1:
        raise _invalid(measure, f"has the cutoff {measure.params['cutoff']}", "a cutoff of 1 or more")
    for name, info in allowed.items():
        if info.required and name not in measure.params:
            raise _invalid(measure, f"has no {name}", f"a {name}")


def _wanted(info: ir_measures.ParamInfo) -> str:
    if isinstance(info.choices, list):
        return f"one of {', '.join(map(repr, info.choices))}"
    return f"a value of type {info.dtype.__name__}" if info.dtype else "another value"


def _invalid(measure: Measure, came: str, wanted: str) -> InputError:
    example = f"{measure.NAME}@10" if "cutoff" in measure.SUPPORTED_PARAMS else str(measure.NAME)
    return InputError(f"{str(measure)!r} {came}.", f"It needs {wanted}.", f"Write for example {example!r}.")
