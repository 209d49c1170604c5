"""The four default measures by ranx: python peer_ranx.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from peer_said import median_seconds, say, seconds, since_start, threads
from peer_search import Found

MEASURES = {"nDCG@10": "ndcg@10", "AP@10": "map@10", "R@10": "recall@10", "P@10": "precision@10"}
REPEATS = 5


def main(folder: Path) -> None:
    from ranx import Qrels, Run, evaluate

    def score(judgements: Qrels, run: Run) -> dict[str, float]:
        # Means; the values of each query are kept in the run.
        return evaluate(judgements, run, list(MEASURES.values()), threads=threads())

    built = {}

    def read() -> None:
        built["qrels"] = Qrels.from_file(str(folder / "qrels.trec"), kind="trec")
        built["run"] = Run.from_file(str(folder / "run.trec"), kind="trec")

    figures = {"read": seconds(read)}
    figures["first"] = seconds(lambda: built.update(means=score(built["qrels"], built["run"])))
    figures["whole"] = since_start()
    found = Found(folder)

    def build() -> None:
        built.update(run=Run.from_dict(found.dicts()), qrels=Qrels.from_dict(found.qrels))

    figures["build"] = seconds(build)
    figures["again"] = median_seconds(lambda: score(built["qrels"], built["run"]), REPEATS)
    means = score(built["qrels"], built["run"])
    say(figures, {ours: float(means[theirs]) for ours, theirs in MEASURES.items()}, ("ranx", "numba"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
