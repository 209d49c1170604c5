"""imgbench: does approximate indexing degrade the nDCG of my image search, and what do I gain for it?

>>> import imgbench as ib
>>> sorted(ib.__all__)[:4]
['Comparison', 'Corpus', 'Embeddings', 'Encoder']
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgbench.benchmark import benchmark
    from imgbench.corpus import Corpus
    from imgbench.distractors import distractor_curve, effective_size
    from imgbench.embeddings import Embeddings, embed
    from imgbench.encoders.base import Encoder
    from imgbench.errors import InputError
    from imgbench.evaluator import Evaluator
    from imgbench.funnel import funnel
    from imgbench.index import Index
    from imgbench.qrels import Qrels
    from imgbench.ranks import relevant_ranks
    from imgbench.report import Report
    from imgbench.run import Run
    from imgbench.significance import Comparison
    from imgbench.tuning import tune

__version__ = "0.1.0"

# Where each public name lives. It is imported on first use, so that `import imgbench` costs milliseconds.
_HOMES = {
    "Comparison": "imgbench.significance",
    "Corpus": "imgbench.corpus",
    "Embeddings": "imgbench.embeddings",
    "Encoder": "imgbench.encoders.base",
    "Evaluator": "imgbench.evaluator",
    "Index": "imgbench.index",
    "InputError": "imgbench.errors",
    "Qrels": "imgbench.qrels",
    "Report": "imgbench.report",
    "Run": "imgbench.run",
    "benchmark": "imgbench.benchmark",
    "distractor_curve": "imgbench.distractors",
    "effective_size": "imgbench.distractors",
    "embed": "imgbench.embeddings",
    "funnel": "imgbench.funnel",
    "relevant_ranks": "imgbench.ranks",
    "tune": "imgbench.tuning",
}

__all__ = [
    "Comparison",
    "Corpus",
    "Embeddings",
    "Encoder",
    "Evaluator",
    "Index",
    "InputError",
    "Qrels",
    "Report",
    "Run",
    "benchmark",
    "distractor_curve",
    "effective_size",
    "embed",
    "funnel",
    "relevant_ranks",
    "tune",
]


class _FrontDoor(ModuleType):
    """`imgbench.benchmark` is the function: importing its module must not put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'imgbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
