"""Which loads were asked for, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imgbench.errors import InputError

ALL = "all"
"""The size of a batch of all queries."""

_MOST_CLIENTS = 256
_MOST_THREADS = 1024  # OpenMP ends the process where the system refuses it a thread


@dataclass(frozen=True, kw_only=True)
class Loads:
    """Which loads are tried on every point: none, unless told.

    `clients` are numbers of clients, `batches` sizes of batches in queries, or "all"; each client searches
    on `client_threads` threads. Raises InputError for numbers below 1 or beyond reason, and for those that
    come twice.

    >>> Loads(clients=[1, 4], batches=[32, "all"])
    Loads(clients=(1, 4), batches=(32, 'all'), client_threads=1)
    """

    clients: Sequence[int] = ()
    batches: Sequence[int | str] = ()
    client_threads: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "clients", _numbers("clients", self.clients, "1,2,4", most=_MOST_CLIENTS))
        object.__setattr__(self, "batches", _numbers("batches", self.batches, "1,32,512", word=ALL))
        _numbers("client_threads", [self.client_threads], "1", most=_MOST_THREADS)
        threads = max(self.clients, default=1) * self.client_threads
        if threads > _MOST_THREADS:
            came = f"{max(self.clients)} clients on {self.client_threads} threads are {threads:,}."
            raise InputError(came, f"At most {_MOST_THREADS:,} are started.", "Ask for fewer of either.")

    def __bool__(self) -> bool:
        """Whether anything is to be tried."""
        return bool(self.clients or self.batches)

    def sizes(self, queries: int) -> list[int]:
        """The sizes of batches that so many queries allow, each once.

        >>> Loads(batches=[32, 512, "all"]).sizes(100)
        [32, 100]
        """
        return sorted({min(size, queries) if isinstance(size, int) else queries for size in self.batches})

    def notes(self, queries: int) -> list[str]:
        """What is to be said of sizes that so many queries do not allow.

        >>> Loads(batches=[32, 512]).notes(100)
        ['Batches of 512 were asked for; there are 100 queries, which were searched in one batch instead.']
        """
        large = [f"{size:,}" for size in self.batches if isinstance(size, int) and size > queries]
        if not large:
            return []
        instead = f"there are {queries:,} queries, which were searched in one batch instead."
        return [f"Batches of {' and '.join(large)} were asked for; {instead}"]


def _numbers(
    name: str, given: object, example: str, *, most: int | None = None, word: str | None = None
) -> tuple[Any, ...]:
    """Positive whole numbers, or the `word`, each once."""
    limits = "of 1 or more" if most is None else f"from 1 to {most:,}"
    wanted = f"It takes whole numbers {limits}{f' or {word!r}' if word else ''}."
    do = f"Pass {name}=[{example.replace(',', ', ')}]." if "," in example else f"Pass {name}={example}."
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(f"{name} is {given!r}.", wanted, do)
    for value in given:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value != word and not (whole and 1 <= value <= (most or value)):
            raise InputError(f"{name} has {value!r}.", wanted, do)
        if given.count(value) > 1:
            raise InputError(f"{name} has {value!r} twice.", "Each is measured once.", "Remove one of them.")
    return tuple(given)
