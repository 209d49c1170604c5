from __future__ import annotations

import pytest

from imgbench.errors import InputError
from imgbench.significance import Margin


@pytest.mark.parametrize(
    ("given", "value", "relative", "written"),
    [
        (0.005, 0.005, False, "0.005"),
        ("0.005", 0.005, False, "0.005"),
        (" .01 ", 0.01, False, "0.01"),
        (1e-3, 0.001, False, "0.001"),
        (0, 0.0, False, "0"),
        ("1%", 0.01, True, "1%"),
        ("0.5 %", 0.005, True, "0.5%"),
        (Margin(0.02, relative=True), 0.02, True, "2%"),
    ],
)
def test_margins_are_numbers_or_shares(given, value, relative, written) -> None:
    margin = Margin.parse(given)
    assert (margin.value, margin.relative, str(margin)) == (value, relative, written)
    assert Margin.parse(str(margin)) == margin


@pytest.mark.parametrize(
    "given", [-0.1, "-1%", "nan", float("inf"), "a lot", "", "%", "1%%", True, None, [1]]
)
def test_other_margins_are_refused(given) -> None:
    with pytest.raises(InputError, match=r"The margin is .*\. It is a loss of 0 or more\. Pass for example"):
        Margin.parse(given)


@pytest.mark.parametrize("given", ["5.1%", "10%", "200%"])
def test_large_shares_are_refused(given: str) -> None:
    message = rf"The margin is {given} of exact search\. A relative margin is at most 5%: .* such as 0\.05\."
    with pytest.raises(InputError, match=message):
        Margin.parse(given)


def test_a_share_of_the_exact_score() -> None:
    assert Margin.parse("2%").absolute(0.5) == pytest.approx(0.01)
    assert Margin.parse("0%").absolute(0.0) == 0
    assert Margin.parse(0.0).absolute(0.0) == 0


@pytest.mark.parametrize(("given", "exact"), [(0.5, 0.43), (0.005, 0.0), (0.43, 0.43)])
def test_a_margin_as_large_as_the_score_is_refused(given, exact: float) -> None:
    message = rf"The margin for nDCG@10 is {given} and exact search scores {exact:.4g}\. No search could lose"
    with pytest.raises(InputError, match=message):
        Margin.parse(given).absolute(exact, "nDCG@10")
