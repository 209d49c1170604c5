"""The sentences below the table: the corpus, how to read the figures, how they were measured."""

from __future__ import annotations

from imgbench.report import precision, readable
from imgbench.report.results import Results, primary
from imgbench.timing import DRIFT_LIMIT

_ENOUGH_CALLS = 1000
_ENOUGH_BUILDS = 5
_LIBRARIES = ("imgbench", "faiss-gpu", "faiss-cpu", "torch", "numpy", "ir-measures")


def sentences(results: Results) -> tuple[str, ...]:
    """What a reader must know beside the table, a sentence or two each."""
    return (
        _corpus(results["corpus"]),
        *(results["corpus"].get("notices") or ()),
        _reading(results),
        *precision.sentences(results),
        *_methods(results),
        *_unchanged(results),
        *_undecided(results),
        *_builds(results),
        *_cached(results),
        *_strata(results),
        *_timing(results),
        *_threads(results),
        *_loads(results),
        _machine(results["environment"]),
        _versions(results["environment"]),
    )


def _corpus(corpus: Results) -> str:
    queries = readable.count(corpus["queries"], "query", "queries")
    rule = f" {corpus['cluster_rule']}" if corpus.get("cluster_rule") else ""
    return (
        f"Corpus {corpus['name']}: {readable.count(corpus['images'], 'image')}, {queries}, of which "
        f"{corpus['judged_queries']:,} judged, in {readable.count(corpus['clusters'], 'cluster')}; "
        f"{readable.count(corpus['missing_images'], 'relevant image')} missing.{rule}"
    )


def _reading(results: Results) -> str:
    sure = readable.percent(results["confidence"])
    return (
        f"Δ: paired difference from exact search ({results['baseline']}), with a {sure} interval over query "
        "clusters that holds for all points together. R@k is recall against judgements, overlap@k is "
        "agreement with exact search."
    )


def _methods(results: Results) -> list[str]:
    """Where the intervals come from, by how many points."""
    measure = primary(results)
    used = [point["delta"][measure].get("method") for point in results["points"] if measure in point["delta"]]
    counts = [(used.count(name), words) for name, words in _METHODS.items() if name in used]
    told = "; ".join(f"{readable.count(count, 'point')} by {words}" for count, words in counts)
    never = "never narrower than for a search that changes nothing"
    said = [f"Intervals of {measure}, {never}: {told}."] if told else []
    return said + _detectable(results)


_METHODS = {
    "bootstrap-t": "bootstrap-t over clusters (Efron, Tibshirani 1993), max-T over points (Westfall, Young)",
    "bootstrap-t and Gaffke": "a blend of that with Gaffke's bound, because few clusters changed",
    "Gaffke": "Gaffke's bound (2005), the worst that may be unseen, because hardly any cluster changed",
}


def _detectable(results: Results) -> list[str]:
    """What the corpus can prove, and a warning where the margin is below that."""
    plan = results["corpus"].get("detectable")
    if not plan:
        return []
    measure = primary(results)
    margin = results["margin"].get(measure, 1.0)
    if margin > min(plan["floor"], plan["typical"]):
        return [plan["told"]]
    warning = (
        f"Warning: a margin of {margin:.3g} is hardly ever proven for {measure} here, not even for a search "
        "that changes nothing. Ask more queries about other images, or choose a larger margin."
    )
    return [plan["told"], warning]


def _undecided(results: Results) -> list[str]:
    """How many more clusters would decide the points that are inconclusive."""
    measure, have = primary(results), results["corpus"]["clusters"]
    several = len(results["encoders"]) > 1
    found = [
        f"{point['key']}{' of ' + point['encoder'] if several else ''} about {readable.about(needed - have)}"
        for point in results["points"]
        if point["delta"].get(measure, {}).get("verdict") == "inconclusive"
        and (needed := point["delta"][measure].get("clusters_needed"))
    ]
    if not found:
        return []
    return [f"More query clusters that would decide the inconclusive points: {', '.join(found)}."]


def _unchanged(results: Results) -> list[str]:
    """The points that found what exact search found, as far as the scores can tell."""
    measure = primary(results)
    found = [
        point["key"] for point in results["points"] if point["delta"].get(measure, {}).get("changed") == 0
    ]
    if not found:
        return []
    told = ", ".join(dict.fromkeys(found))
    return [f"No query changed in {measure} for {told}: the interval is what so many clusters can support."]


def _builds(results: Results) -> list[str]:
    counts = [len(point["builds"]) + 1 for point in results["points"] if point.get("builds")]
    if not counts:
        return ["Intervals speak of this build of each index; builds=5 (--builds 5) covers new ones too."]
    said = (
        f"Δ is the mean over {max(counts)} builds of each index (other seeds, other orders of insertion); "
        "its interval covers new queries and a new build. The other columns, funnels and correlations are of "
        "the first build."
    )
    few = "Few builds make wide intervals: take five or more, above all with many points."
    return [said, few] if max(counts) < _ENOUGH_BUILDS else [said]


def _cached(results: Results) -> list[str]:
    """Whose build times and encoding rates were not measured this time."""
    indexes = dict.fromkeys(point["index"] for point in results["points"] if point.get("cached"))
    encoders = [each["name"] for each in results["encoders"] if each.get("cached")]
    told = {
        "with the build times of an earlier run on this machine": indexes,
        "with the encoding rate (images/s) of an earlier run": encoders,
    }
    return [f"Read from the cache, {what}: {', '.join(names)}." for what, names in told.items() if names]


def _strata(results: Results) -> list[str]:
    measure = primary(results)
    found = [part for part in results.get("strata") or () if part["measure"] == measure and part["points"]]
    if not found:
        return []
    cells = [(f"{part['strata']} {part['label']}", each) for part in found for each in part["points"]]
    where, worst = min(cells, key=lambda cell: cell[1]["mean"])
    strata = " and ".join(dict.fromkeys(part["strata"] for part in found))
    said = (
        f"By {strata}: the largest loss is {readable.change(worst['mean'])}, of {worst['key']} at {where} "
        f"({worst['verdict']}); the intervals of all {len(found)} strata hold together."
    )
    return [said]


def _timing(results: Results) -> list[str]:
    points = results["points"]
    if not points:
        return []
    fewest = min(point["latency_ms"]["queries"] for point in points)
    one = readable.count(points[0]["latency_ms"]["threads"], "thread")
    batch = points[0]["throughput_qps"]
    told = (
        f"Latency: one query a call on {one}, at least {fewest:,} timed calls a point. Throughput: batches "
        f"of {batch['batch']:,} on {readable.count(batch['threads'], 'thread')}, {_repeats(points)}."
    )
    few = [f"Warning: {fewest:,} timed calls are too few for a good p99."] if fewest < _ENOUGH_CALLS else []
    return [told, *few, *_drifts(results)]


def _threads(results: Results) -> list[str]:
    """A warning where fewer threads, or more, were read back than had been asked for."""
    asked = results["environment"]["threads"]
    used = {
        "latency": {point["latency_ms"]["threads"] for point in results["points"]},
        "throughput": {point["throughput_qps"]["threads"] for point in results["points"]},
        "client": {count for load in _all_loads(results) for count in load["threads"]},
        "build": {asked["build"]} if "build" in asked else set(),
    }
    asked = asked | {"build": asked["throughput"]} if "throughput" in asked else asked
    wrong = [
        f"{name} ran on {readable.count(count, 'thread')} where {asked[name]} were asked for"
        for name, counts in used.items()
        for count in sorted(counts)
        if count != asked.get(name, count)
    ]
    return [f"Warning: {', '.join(wrong)}. OMP_THREAD_LIMIT may hold them back."] if wrong else []


def _loads(results: Results) -> list[str]:
    loads = _all_loads(results)
    if not loads:
        return []
    most, cores = max(load["clients"] for load in loads), results["environment"]["cores"]
    told = (
        f"Clients at once: up to {most:,} Python threads, each of which sends a query when its last one came "
        "back. Efficiency: their queries per second beside those of as many times one client alone."
    )
    over = f" With more threads than the {readable.count(cores, 'core')} clients wait for one another."
    return [told + (over if max(sum(load["threads"]) for load in loads) > cores else "")]


def _all_loads(results: Results) -> list[Results]:
    return [load for point in results["points"] for load in point.get("concurrency") or ()]


def _repeats(points: list[Results]) -> str:
    """How often the batches were repeated: slow ones are repeated less."""
    counts = [point["throughput_qps"].get("repeats") for point in points]
    known = sorted({count for count in counts if count})
    if not known:
        return "median"
    return f"median of {known[0]}" + (f" to {known[-1]}" if len(known) > 1 else "")


def _drifts(results: Results) -> list[str]:
    drifts: dict[str, float] = results.get("baseline_drift") or {}
    several = len(drifts) > 1
    return [_drift(share, f" of {name}" if several else "") for name, share in drifts.items()]


def _drift(share: float, whose: str) -> str:
    moved = (
        f"exact search{whose} was {abs(100 * share):.0f}% {'slower' if share > 0 else 'faster'} at the end"
    )
    if abs(share) > DRIFT_LIMIT:
        return f"Warning: {moved} than at the start: the machine changed, so compare the speeds with care."
    return f"Drift: {moved} than at the start."


def _machine(environment: Results) -> str:
    threads = ", ".join(f"{name} {count}" for name, count in environment["threads"].items())
    parts = [
        f"{environment['cpu']}, {readable.count(environment['cores'], 'core')}",
        f"GPU {environment['gpu']}" if environment.get("gpu") else "no GPU",
        f"threads: {threads}" if threads else "",
        f"seed {environment['seed']}" if environment.get("seed") is not None else "",
    ]
    return "Machine: " + "; ".join(part for part in parts if part) + "."


def _versions(environment: Results) -> str:
    packages = environment["packages"]
    named = [f"{name} {packages[name]}" for name in _LIBRARIES if name in packages]
    git = f"; git {environment['git'][:12]}" if environment.get("git") else ""
    return f"Versions: Python {environment['python']}, {', '.join(named)}{git}."
