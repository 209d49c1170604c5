"""One search as all the scoring scripts get it: TREC files, or the arrays that FAISS returns and the ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Found:
    """Scores and rows, best first, and the ids of both sides: read before any clock starts."""

    def __init__(self, folder: Path) -> None:
        self.scores, self.rows = np.load(folder / "scores.npy"), np.load(folder / "rows.npy")
        self.query_ids = (folder / "queries.txt").read_text(encoding="utf-8").split("\n")
        self.image_ids = (folder / "images.txt").read_text(encoding="utf-8").split("\n")
        self.qrels = {
            query: {self.image_ids[row]: 1}
            for query, row in zip(self.query_ids, np.load(folder / "relevant.npy").tolist(), strict=True)
        }

    def dicts(self) -> dict[str, dict[str, float]]:
        """The run that most libraries take, in the fastest way plain Python has."""
        names = self.image_ids
        return {
            query: dict(zip([names[row] for row in hits], scores, strict=True))
            for query, hits, scores in zip(
                self.query_ids, self.rows.tolist(), self.scores.tolist(), strict=True
            )
        }
