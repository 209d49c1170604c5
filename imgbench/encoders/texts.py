"""Texts as rows of tokens: each distinct row is encoded once, beside others of about its length.

A tower that reads from left to right has a text's vector where the text ends, and what follows changes
nothing: captions of 16 tokens among 77 then cost a fifth. Where padding matters, as in SigLIP, every row
keeps its length.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from jaxtyping import Int64

from imgbench.encoders.network import NetworkEncoder
from imgbench.types import Precision

Tokens: TypeAlias = dict[str, Any]
"""(text, token) integer tensors on the CPU, by the model's name for them."""

WINDOW = 16_384  # texts that are tokenised and ordered together: 77 tokens of each are 10 MB
PROBES = ["a", "a photo of two red cars beside the blue lake", "word " * 100]
# How far unit rows may lie apart when only the order of additions differs.
ROUNDING = {Precision.FP32: 1e-5, Precision.FP16: 5e-3, Precision.BF16: 3e-2}


class Shortcut(Protocol):
    """How a tower gives the same rows from only the tokens that decide them."""

    @property
    def step(self) -> int:
        """Lengths up to the same multiple of it share a batch, in the order of their tokens."""
        ...

    def lengths(self, tokens: Tokens) -> Any:
        """(text,) how many tokens, from the left, decide each row."""
        ...

    def rows(self, tokens: Tokens) -> Any:
        """(text, dim) rows of tokens that were cut to the longest of the batch."""
        ...


@dataclass(frozen=True)
class Batch:
    """Distinct rows of tokens, and the texts that they stand for."""

    rows: Int64[np.ndarray, "distinct"]  # where each is found among all tokens
    width: int  # tokens of the longest
    texts: Int64[np.ndarray, "text"]  # positions of all texts of the batch
    which: Int64[np.ndarray, "text"]  # the number of each text's row among `rows`


class TokenEncoder(NetworkEncoder):
    """A network encoder whose texts become rows of tokens.

    A batch holds as many tokens as `batch_size` texts of the full context length: more texts, if they are
    short.
    """

    _shortcut: Shortcut | None = None

    @abstractmethod
    def _tokens(self, texts: list[str]) -> Tokens:
        """The texts' tokens at the full context length."""

    @abstractmethod
    def _plain(self, tokens: Tokens) -> Any:
        """(text, dim) rows by the model's own code, from tokens at the full context length."""

    def _texts(self, texts: list[str]) -> Any:
        return self._plain(self._tokens(texts))

    def _settle(self, shortcut: Shortcut | None) -> None:
        """Set `dim`, and keep the shortcut if it gives some texts the rows that they have without it."""
        tokens = self._tokens(PROBES)
        plain = self._plain(tokens)
        self.dim = int(plain.shape[1])
        if shortcut is None:
            return
        short = shortcut.rows(cut(tokens, slice(None), int(shortcut.lengths(tokens).max())))
        if _apart(short, plain) < ROUNDING[self.precision]:
            self._shortcut = shortcut

    def _text_batches(self, texts: list[str]) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(texts), WINDOW):
            tokens = self._tokens(texts[start : start + WINDOW])
            for batch in self._planned(tokens):
                short = cut(tokens, batch.rows, batch.width)
                rows = self._shortcut.rows(short) if self._shortcut else self._plain(short)
                yield start + batch.texts, rows[batch.which]

    def _planned(self, tokens: Tokens) -> Iterator[Batch]:
        budget = self._batch_size() * next(iter(tokens.values())).shape[1]
        if self._shortcut is None:
            return batches(tokens, None, budget=budget)
        return batches(tokens, self._shortcut.lengths(tokens), budget=budget, step=self._shortcut.step)


def cut(tokens: Tokens, rows: Any, width: int) -> Tokens:
    """The first `width` tokens of some rows."""
    return {name: values[rows, :width] for name, values in tokens.items()}


def batches(tokens: Tokens, lengths: Any, *, budget: int, step: int = 1) -> Iterator[Batch]:
    """Batches of at most `budget` tokens, padding included; the longest first, so that memory fails at once.

    `lengths` (text,) says how many tokens of each text count; None means all. The order of the texts changes
    no batch, and so no vector.

    >>> import torch
    >>> ids = torch.tensor([[5, 9, 0], [5, 6, 9], [5, 9, 7]])
    >>> [(b.rows.tolist(), b.width, b.texts.tolist(), b.which.tolist())
    ...  for b in batches({"text": ids}, torch.tensor([2, 3, 2]), budget=4)]
    [([1], 3, [1], [0]), ([0], 2, [0, 2], [0, 0])]
    """
    import torch

    count, full = next(iter(tokens.values())).shape
    lengths = torch.full((count,), full) if lengths is None else lengths.clamp(max=full)
    counts = torch.arange(full) < lengths[:, None]
    classes = (-(-lengths // step) * step).clamp(max=full)
    # Sorted by class, then by tokens; the length tells apart what ends with the padding's token.
    columns = [-classes[:, None], *(values * counts for values in tokens.values()), lengths[:, None]]
    distinct, which = torch.unique(torch.cat(columns, dim=1), dim=0, return_inverse=True)
    first = np.unique(which.numpy(), return_index=True)[1]
    texts = np.argsort(which.numpy(), kind="stable")
    sorted_which = which.numpy()[texts]
    for start, stop in _cuts((-distinct[:, 0]).tolist(), budget):
        at = slice(*np.searchsorted(sorted_which, [start, stop]))
        width = int(distinct[start:stop, -1].max())
        yield Batch(first[start:stop], width, texts[at], sorted_which[at] - start)


def _cuts(widths: list[int], budget: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of batches of falling widths: within the budget, and at most an eighth of it padding."""
    start = held = 0
    for row, width in enumerate(widths):
        padded = (row + 1 - start) * widths[start]
        if row > start and (padded > budget or 8 * padded > 9 * (held + width)):
            yield start, row
            start, held = row, 0
        held += width
    if widths:
        yield start, len(widths)


def _apart(rows: Any, others: Any) -> float:
    """The largest difference of two sets of rows, brought to norm 1; infinite where one is not finite."""
    from torch.nn.functional import normalize

    apart = (normalize(rows.float(), dim=-1) - normalize(others.float(), dim=-1)).abs().max()
    return float(apart.nan_to_num(float("inf")))
