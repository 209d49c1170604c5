"""imgbench's tuning, from files of vectors to an index file: ours_tuning.py FOLDER OUT."""

from __future__ import annotations

import sys
from pathlib import Path

from peer_said import say, seconds, since_start

MARGIN = 0.01  # of nDCG@10: what halves of 1,000 photographs can decide


def main(folder: Path, out: Path) -> None:
    import imgbench as ib

    said: dict[str, object] = {}
    out.mkdir(parents=True, exist_ok=True)

    def tune() -> None:
        vectors = ib.Embeddings.load(folder / "images.npy"), ib.Embeddings.load(folder / "queries.npy")
        found = ib.tune(
            ib.Evaluator(folder / "qrels.csv").qrels, {"": vectors}, goal="latency", margin=MARGIN
        )
        if found.best is None or found.index is None:
            raise SystemExit(f"No point holds: {found}")
        found.index.save(out / "imgbench.index")  # the peer writes its index too
        said.update(best=found.best.key, held=[each.key for each in found.finalists])

    figures = {"tune": seconds(tune), "tune, whole": since_start()}
    say(figures, {}, ("imgbench", "faiss-gpu", "faiss-cpu"), **said)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
