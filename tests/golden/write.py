"""Writes the golden files: a small graded world, and its scores by pytrec_eval (trec_eval's own code).

Run it from the repository's root with `python tests/golden/write.py` after a deliberate change.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytrec_eval

MEASURES = {
    "nDCG@10": "ndcg_cut_10", "nDCG@3": "ndcg_cut_3", "nDCG": "ndcg", "AP@10": "map_cut_10", "AP": "map",
    "R@10": "recall_10", "P@10": "P_10", "P@1": "P_1", "Success@1": "success_1", "Success@5": "success_5",
    "RR": "recip_rank", "Bpref": "bpref", "infAP": "infAP", "Rprec": "Rprec",
}  # fmt: skip


def main(folder: Path) -> None:
    """Write qrels.trec, run.trec and scores.json (means over all judged queries) into the folder."""
    chance = random.Random(20)
    images = [f"photo{number}.jpg" for number in range(60)]
    qrels = {
        f"q{q}": {name: chance.choice([0, 0, 1, 1, 2, 3]) for name in chance.sample(images, 12)}
        for q in range(20)
    }
    qrels["q18"] = dict.fromkeys(qrels["q18"], 0)  # nothing relevant
    # Scores in quarters: many ties, which trec_eval breaks by image id, falling. q19 is not answered.
    run = {f"q{q}": {name: chance.randrange(12) / 4 for name in chance.sample(images, 25)} for q in range(19)}
    scores = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES.values())).evaluate(run)
    means = {
        name: sum(scores.get(query, {}).get(theirs, 0.0) for query in qrels) / len(qrels)
        for name, theirs in MEASURES.items()
    }
    lines = [f"{q} 0 {name} {grade}\n" for q, found in qrels.items() for name, grade in found.items()]
    (folder / "qrels.trec").write_text("".join(lines))
    lines = [f"{q} Q0 {name} 0 {score} golden\n" for q, found in run.items() for name, score in found.items()]
    (folder / "run.trec").write_text("".join(lines))
    (folder / "scores.json").write_text(json.dumps(means, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(__file__).parent)
