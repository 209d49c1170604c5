"""Where the time of a run went: stages within stages, and how much of them was searching, training, adding.

These are FAISS's own calls and, in exact search, imgbench's own product where that is faster; `faiss` in the
names here and in results.json means both.

Code anywhere names what it does; only while a watch runs in the same thread is it written down.

>>> with running() as watch:
...     with stage("embed images", unit="images") as embedding:
...         with embedding.waiting():
...             batch = [1, 2, 3]  # comes from the threads that decode
...         embedding.items += len(batch)
...     with stage("search Flat", unit="queries"), faiss():
...         pass
>>> [(each["stage"], each["items"]) for each in watch.to_dict()["stages"]]
[('embed images', 3), ('search Flat', 0)]
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Stage:
    """A named part of a run. A stage that is entered again under the same parent goes on counting.

    `items` is how many of `unit` were done (images, texts, queries): add to it. `waited` is how many seconds
    the stage's own work stood still for its input, such as a forward pass for decoded images: the stall
    share is waited / seconds. `faiss` is how many seconds were spent searching, training and adding, here and
    not in the stages within.
    """

    name: str
    unit: str = ""
    items: int = 0
    waited: float = 0.0
    faiss: float = 0.0
    within: dict[str, Stage] = field(default_factory=dict[str, "Stage"])
    _before: float = 0.0
    _since: float | None = None

    @property
    def seconds(self) -> float:
        """Wall seconds so far, those of the stages within included."""
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def faiss_seconds(self) -> float:
        """Wall seconds of searching, training and adding, those of the stages within included."""
        return self.faiss + sum(each.faiss_seconds for each in self.within.values())

    @contextlib.contextmanager
    def waiting(self) -> Generator[None]:
        """What happens here is waiting for input: its seconds join `waited`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - start

    @contextlib.contextmanager
    def opened(self) -> Generator[Stage]:
        """What happens here is this stage: its seconds join `seconds`."""
        self._since = time.perf_counter()
        try:
            yield self
        finally:
            self._before, self._since = self.seconds, None

    def rows(self, depth: int) -> Iterator[dict[str, Any]]:
        """This stage and those within, in the order in which they were first entered."""
        yield {
            "stage": self.name,
            "depth": depth,
            "seconds": self.seconds,
            "unit": self.unit,
            "items": self.items,
            "waited": self.waited,
            "faiss_seconds": self.faiss_seconds,
        }
        for each in self.within.values():
            yield from each.rows(depth + 1)


class Watch:
    """The stages of one run, in one thread: what other threads do is part of what this one waits for."""

    def __init__(self) -> None:
        self.whole = Stage("all")
        self.at = self.whole
        self._thread = threading.get_ident()
        self._in_faiss = False

    @property
    def here(self) -> bool:
        """Whether this is the thread that is watched."""
        return self._thread == threading.get_ident()

    def to_dict(self) -> dict[str, Any]:
        """`profile` of results.json, also of a run that goes on: `seconds` in all, of which `faiss_seconds`
        searching, training and adding, and `stages` in their order, each with its `depth` and own figures.
        """
        rows = [row for each in self.whole.within.values() for row in each.rows(0)]
        return {
            "seconds": self.whole.seconds,
            "faiss_seconds": self.whole.faiss_seconds,
            "stages": rows,
        }

    @contextlib.contextmanager
    def stage(self, name: str, unit: str) -> Generator[Stage]:
        """A stage of the one that is open now."""
        around = self.at
        inner = around.within.setdefault(name, Stage(name, unit))
        self.at = inner
        try:
            with inner.opened():
                yield inner
        finally:
            self.at = around

    @contextlib.contextmanager
    def faiss(self) -> Generator[None]:
        """Searching, training or adding in the stage that is open now."""
        if self._in_faiss:  # a region within a region counts once
            yield
            return
        start, self._in_faiss = time.perf_counter(), True
        try:
            yield
        finally:
            self._in_faiss = False
            self.at.faiss += time.perf_counter() - start

    def took(self, seconds: float) -> None:
        """What a clock has summed; nothing in `faiss`, which counts it already."""
        if not self._in_faiss:
            self.at.faiss += seconds


_WATCH: ContextVar[Watch | None] = ContextVar("imgbench-stopwatch", default=None)


@contextlib.contextmanager
def running() -> Generator[Watch]:
    """A watch for all that is done within; where one runs already in this thread, that one goes on."""
    if (outer := _running()) is not None:
        yield outer
        return
    watch = Watch()
    token = _WATCH.set(watch)
    try:
        with watch.whole.opened():
            yield watch
    finally:
        _WATCH.reset(token)


def so_far() -> dict[str, Any]:
    """`to_dict` of the watch that runs in this thread; {} where none does.

    >>> so_far()
    {}
    """
    watch = _running()
    return {} if watch is None else watch.to_dict()


def stage(name: str, *, unit: str = "") -> contextlib.AbstractContextManager[Stage]:
    """What is done within is `name`; `unit` says what its items are. Without a watch nothing is kept.

    >>> with stage("embed texts", unit="texts") as found:
    ...     found.items += 2
    """
    watch = _running()
    return contextlib.nullcontext(Stage(name, unit)) if watch is None else watch.stage(name, unit)


def faiss() -> contextlib.AbstractContextManager[None]:
    """What is done within is searching, training or adding, or waiting for it."""
    watch = _running()
    return contextlib.nullcontext() if watch is None else watch.faiss()


def faiss_took(seconds: float) -> None:
    """Searching, training or adding that a clock has summed already, as a timed loop; nothing in `faiss`."""
    if (watch := _running()) is not None:
        watch.took(seconds)


def _running() -> Watch | None:
    watch = _WATCH.get()
    return watch if watch is not None and watch.here else None
