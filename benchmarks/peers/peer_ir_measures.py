"""The four default measures by ir_measures, or by pytrec_eval alone: peer_ir_measures.py FOLDER [direct]."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer_said import median_seconds, say, seconds, since_start
from peer_search import Found

MEASURES = {"nDCG@10": "ndcg_cut_10", "AP@10": "map_cut_10", "R@10": "recall_10", "P@10": "P_10"}
REPEATS = 5


def by_ir_measures() -> Callable[[Any, Any], dict[str, float]]:
    """Means and the values of each query."""
    import ir_measures

    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    return lambda qrels, run: {
        str(key): mean for key, mean in ir_measures.calc(measures, qrels, run).aggregated.items()
    }


def by_pytrec_eval() -> Callable[[Any, Any], dict[str, float]]:
    """The same from the library below it, without its layer of measures."""
    import pytrec_eval

    asked = {name.replace("_10", ".10") for name in MEASURES.values()}

    def score(qrels: Any, run: Any) -> dict[str, float]:
        each = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run).values()
        return {ours: statistics.fmean(query[theirs] for query in each) for ours, theirs in MEASURES.items()}

    return score


def main(folder: Path, *, direct: bool) -> None:
    import ir_measures

    score = by_pytrec_eval() if direct else by_ir_measures()
    built = {}

    def read() -> None:
        qrels, run = {}, {}
        for line in ir_measures.read_trec_qrels(str(folder / "qrels.trec")):
            qrels.setdefault(line.query_id, {})[line.doc_id] = line.relevance
        for line in ir_measures.read_trec_run(str(folder / "run.trec")):
            run.setdefault(line.query_id, {})[line.doc_id] = line.score
        built.update(qrels=qrels, run=run)

    figures = {"read": seconds(read)}
    figures["first"] = seconds(lambda: score(built["qrels"], built["run"]))
    figures["whole"] = since_start()
    found = Found(folder)
    figures["build"] = seconds(lambda: built.update(run=found.dicts(), qrels=found.qrels))
    figures["again"] = median_seconds(lambda: score(built["qrels"], built["run"]), REPEATS)
    say(figures, score(built["qrels"], built["run"]), ("ir-measures", "pytrec-eval-terrier"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), direct="direct" in sys.argv[2:])
