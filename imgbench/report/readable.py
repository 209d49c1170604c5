"""Numbers as people read them in a narrow column."""

from __future__ import annotations

import re

_LARGE = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_NOTHING = "–"


def score(value: float, digits: int = 4) -> str:
    """A score between 0 and 1, as papers print it; 1 is as wide as the others.

    >>> score(0.61234), score(1.0), score(0.5, 3)
    ('.6123', '1.000', '.500')
    """
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text[:-1]


def change(value: float, digits: int = 4) -> str:
    """A difference with its sign; what rounds to nothing has none.

    >>> change(-0.00123), change(0.02), change(-0.00001)
    ('-.0012', '+.0200', '.0000')
    """
    text = score(abs(value), digits)
    return text if not text.strip("0.") else ("-" if value < 0 else "+") + text


def interval(low: float, high: float, digits: int = 4) -> str:
    """The two ends of an interval of a difference.

    >>> interval(-0.004, 0.001)
    '[-.0040,+.0010]'
    """
    return f"[{change(low, digits)},{change(high, digits)}]"


def short(value: float | None, digits: int = 3) -> str:
    """A positive quantity in about three figures: at most five characters up to 999 billion.

    >>> [short(value) for value in (0.01234, 1.5, 12.34, 123.4, 1152, 12345, 68154321, 0, None)]
    ['0.012', '1.50', '12.3', '123', '1152', '12.3k', '68.2M', '0', '–']
    """
    if value is None:
        return _NOTHING
    if value >= 9999.5:  # noqa: PLR2004  four figures still fit
        return _scaled(value)
    if value == int(value) and value >= 10 or value >= 99.95:  # noqa: PLR2004, RUF021
        return f"{value:.0f}"
    if value == 0:
        return "0"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.1 else f"{value:.{digits}f}"  # noqa: PLR2004


def tick(value: float) -> str:
    """A positive quantity at the tick of an axis.

    >>> [tick(value) for value in (0.01, 0.05, 1.0, 20.0, 500.0, 20_000.0, 100_000.0)]
    ['0.01', '0.05', '1', '20', '500', '20k', '100k']
    """
    text = short(value)
    return re.sub(r"\.?0+(?=[kMG]?$)", "", text) if "." in text else text


def amount(value: float) -> str:
    """A score or a difference inside a sentence.

    >>> amount(0.00123), amount(-0.00001)
    ('0.0012', '0.0000')
    """
    text = f"{value:.4f}"
    return text if text.strip("-0.") else text.lstrip("-")


def count(value: float, noun: str, plural: str = "") -> str:
    """A number and its noun.

    >>> count(1, "query", "queries"), count(20000, "image")
    ('1 query', '20,000 images')
    """
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def about(number: int) -> str:
    """A number that is only known roughly, with two figures.

    >>> about(94603), about(1840), about(37)
    ('95,000', '1,900', '37')
    """
    step = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // step) * step:,}"


def percent(share: float) -> str:
    """A share as a percentage without needless figures.

    >>> percent(0.95), percent(0.123), percent(0.999)
    ('95%', '12%', '99.9%')
    """
    value = 100.0 * share
    whole = f"{value:.0f}"
    return f"{value:.1f}%" if share > 0.99 and abs(value - float(whole)) > 0.05 else f"{whole}%"  # noqa: PLR2004


def _scaled(value: float) -> str:
    size, letter = next((each for each in _LARGE if value >= each[0] * 0.9995), _LARGE[-1])
    scaled = value / size
    return f"{scaled:.0f}{letter}" if scaled >= 99.95 else f"{scaled:.1f}{letter}"  # noqa: PLR2004
