"""The four default measures by imgbench: python ours_scoring.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from peer_said import median_seconds, say, seconds, since_start
from peer_search import Found

REPEATS = 5


def main(folder: Path) -> None:
    import imgbench as ib
    import imgbench.evaluator
    import imgbench.run  # loaded before the clock starts, as on the other sides; it counts for the whole
    from imgbench.qrels import Qrels

    built = {}

    def read() -> None:
        built.update(judge=ib.Evaluator(folder / "qrels.trec"), run=ib.Run.read_trec(folder / "run.trec"))

    def score() -> dict[str, float]:
        # The values of each query as an array, then the means: the others give both in one call.
        built["each"] = built["judge"].matrix(built["run"])
        return built["judge"].score(built["run"])

    figures = {"read": seconds(read)}
    figures["first"] = seconds(score)
    figures["whole"] = since_start()
    found = Found(folder)

    def build() -> None:
        run = ib.Run.from_search(found.query_ids, found.image_ids, found.scores, found.rows)
        built.update(run=run, judge=ib.Evaluator(Qrels.from_dict(found.qrels)))

    figures["build"] = seconds(build)
    figures["again"] = median_seconds(score, REPEATS)
    say(figures, score(), ("imgbench",))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
