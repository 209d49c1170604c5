"""Where a loss arises: from exact search over float32 vectors to an operating point, one change at a time.

The steps: exact search (fp32), stored precision, dimensions (Matryoshka), and the stages of the index that
`Index.stages` finds: transform, quantiser, search. Each step is compared with the step before on the same
queries, so that the differences of the steps add up to that of the point.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> images = Embeddings.normalised([f"{row}.jpg" for row in range(300)], rng.normal(size=(300, 16)))
>>> queries = Embeddings([f"{row}" for row in range(300)], images.vectors)
>>> judge = Evaluator({str(row): {f"{row}.jpg": 1} for row in range(300)}, "Success@1")
>>> found = funnel("IVF16,SQ4?nprobe=2", images, queries, judge)
>>> [step.name for step in found.steps]
['fp32', 'quantiser (SQ4)', 'search (nprobe=2)']
"""

from __future__ import annotations

from collections.abc import Mapping

from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.funnel.judged import Given, Steps, check_judge, funnel_of, funnels_of
from imgbench.funnel.steps import Pair, exact_steps, exactly, index_steps, spaces
from imgbench.funnel.value import Funnel, Step
from imgbench.index import Index, IndexSpec
from imgbench.index.spec import Number

__all__ = ["Funnel", "Step", "Steps", "exact_steps", "funnel", "funnel_of", "funnels_of", "index_steps"]


def funnel(
    index: Index | IndexSpec | str,
    images: Embeddings,
    queries: Embeddings,
    judge: Evaluator,
    *,
    k: int | None = None,
    params: Mapping[str, Number] | None = None,
    reference: Pair | None = None,
    stored: str | None = None,
    dim: int | None = None,
    margin: Given = 0.005,
    confidence: float = 0.95,
    seed: int = 0,
) -> Funnel:
    """Where an operating point loses what it loses: `index` with `params`, or a text such as
    "IVF256,PQ16?nprobe=4", which is built with `seed`.

    `images` and `queries` are as they are stored. What they were before, in full precision or with more
    dimensions, comes as `reference`; or `stored="float16"` casts them first, and `dim` truncates them. An
    `Index` that is passed was built from the vectors after all that. `k` is the depth of every search, by
    default the largest cutoff among the measures (100 where one has none). `margin`: as `Evaluator.compare`,
    against each step and the total. InputError for a text of several points, embeddings that do not belong
    together, and an index whose codes cannot be compared exhaustively.
    """
    check_judge(judge)
    before = spaces((images, queries), reference=reference, stored=stored, dim=dim)
    images, queries = before[-1][1]
    k = judge.depth(k, len(images))
    built, values = _point(index, params, images, seed)
    after = index_steps(built, images, queries, k, [values])[0]  # first: it refuses what does not fit
    steps = [*((name, exactly(pair, k)) for name, pair in before), *after]
    return funnel_of(steps, judge, margin=margin, confidence=confidence, seed=seed)


def _point(
    index: Index | IndexSpec | str, params: Mapping[str, Number] | None, images: Embeddings, seed: int
) -> tuple[Index, Mapping[str, Number]]:
    if isinstance(index, Index):
        return index, params or {}
    spec = IndexSpec.parse(index) if isinstance(index, str) else index
    first, *others = spec.grid
    if others or (params and first):
        raise InputError(
            f"{spec.text!r} names {len(spec.grid)} points" + (f", and params {params}." if params else "."),
            "A funnel is that of one point.",
            f"Write {spec.key(first)!r}.",
        )
    return Index.build(spec, images, seed=seed), params or first
