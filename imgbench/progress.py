"""What is being done, in one line that is written over, also in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]


@contextmanager
def telling(*, progress: bool) -> Generator[Say]:
    """A function that says on standard error what is being done, or, without `progress`, says nothing."""
    if not progress:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=0, bar_format="{desc} [{elapsed}]", leave=False) as line:
        yield line.set_description_str
