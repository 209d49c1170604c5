"""The answer in a sentence: does approximate search keep the quality, and what is gained for it."""

from __future__ import annotations

from imgbench.report.readable import about, amount, percent, short
from imgbench.report.results import Results, exact_of, margin_of, points_of, primary


def sentences(results: Results) -> tuple[str, ...]:
    """One headline an encoder, each naming its encoder where there are several."""
    encoders = [encoder["name"] for encoder in results["encoders"]]
    several = len(encoders) > 1
    return tuple((f"{name}: " if several else "") + _sentence(results, name) for name in encoders)


def cheapest(results: Results, encoder: str) -> Results | None:
    """The point with the highest throughput among those whose verdict holds, or None."""
    held = [point for point in _others(results, encoder) if _verdict(results, point) == "holds"]
    return max(held, key=lambda point: point["throughput_qps"]["value"], default=None)


def _sentence(results: Results, encoder: str) -> str:
    exact, others = exact_of(results, encoder), _others(results, encoder)
    if exact is None:
        return f"There is no exact search {results['baseline']} to compare with."
    if not others:
        return f"Exact search only: {_quality(results, exact)}. No approximate point was measured."
    best = cheapest(results, encoder)
    return _none_holds(results, others) if best is None else _holds(results, best, exact)


def _holds(results: Results, best: Results, exact: Results) -> str:
    measure = primary(results)
    gain = _ratio(best["throughput_qps"]["value"], exact["throughput_qps"]["value"])
    kept = f"{best['key']} keeps {measure} within {_margin(results, best)} of exact search"
    said = f"{kept} ({_loss(results, best)})"
    if gain <= 1.0:
        return f"{said}, but at {gain:.2f}x its throughput: no point that holds is faster."
    p50, exact_p50 = (short(point["latency_ms"]["p50"]) for point in (best, exact))
    return f"{said} at {_times(gain)}x its throughput; median latency {p50} ms instead of {exact_p50} ms."


def _none_holds(results: Results, others: list[Results]) -> str:
    verdicts = [_verdict(results, point) for point in others]
    counts = [(verdicts.count(name), words) for name, words in _WORDS.items()]
    told = ", ".join(f"{count} {words}" for count, words in counts if count)
    within = f"{primary(results)} within {_margin(results, others[0])}"
    said = f"No point is proven to keep {within} of exact search: {told}."
    open_points = [point for point in others if _verdict(results, point) == "inconclusive"]
    return said + (_closest(results, open_points) if open_points else "")


_WORDS = {"degrades": "proven to lose more", "inconclusive": "inconclusive", "": "not compared"}


def _closest(results: Results, points: list[Results]) -> str:
    measure = primary(results)
    best = max(points, key=lambda point: point["delta"][measure]["mean"])
    said = f" The closest is {best['key']} ({_loss(results, best)})"
    needed = best["delta"][measure].get("clusters_needed")
    return f"{said}; about {about(needed)} query clusters in all would decide it." if needed else f"{said}."


def _loss(results: Results, point: Results) -> str:
    delta = point["delta"][primary(results)]
    word = "gain" if delta["mean"] > 0 else "loss"
    sign = 1.0 if delta["mean"] > 0 else -1.0
    low, high = sorted((sign * delta["low"], sign * delta["high"]))
    change = amount(abs(delta["mean"]))
    return f"{word} {change}, {percent(results['confidence'])} interval {amount(low)} to {amount(high)}"


def _quality(results: Results, point: Results) -> str:
    measure = primary(results)
    found = point["quality"][measure]
    interval = f"{amount(found['low'])} to {amount(found['high'])}"
    return f"{measure} is {amount(found['mean'])} ({percent(results['confidence'])} interval {interval})"


def _others(results: Results, encoder: str) -> list[Results]:
    return [point for point in points_of(results, encoder) if point["key"] != results["baseline"]]


def _verdict(results: Results, point: Results) -> str:
    return str(point["delta"].get(primary(results), {}).get("verdict", ""))


def _margin(results: Results, point: Results) -> str:
    """As it was asked, and in units of the measure: of a share each encoder has its own."""
    measure = primary(results)
    bound, given = margin_of(results, point, measure), (results.get("margin_given") or {}).get(measure, "")
    return f"{given} ({amount(bound or 0.0)})" if given.endswith("%") else f"{bound or 0.0:g}"


def _ratio(value: float, to: float) -> float:
    return value / to if to > 0 else 0.0


def _times(gain: float) -> str:
    return f"{gain:,.0f}" if gain >= 100 else f"{gain:.1f}"  # noqa: PLR2004
