"""autofaiss's tuning, from a file of vectors to an index file: peer_autofaiss.py FOLDER OUT MILLISECONDS."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from peer_said import say, seconds, since_start, threads


def main(folder: Path, out: Path, milliseconds: float) -> None:
    from autofaiss import build_index

    said: dict[str, object] = {}
    out.mkdir(parents=True, exist_ok=True)

    def tune() -> None:
        with contextlib.redirect_stdout(sys.stderr):
            _, infos = build_index(
                str(folder / "autofaiss"),
                index_path=str(out / "autofaiss.index"),
                index_infos_path=str(out / "autofaiss.json"),
                max_index_query_time_ms=milliseconds,
                min_nearest_neighbors_to_retrieve=10,
                current_memory_available="20G",
                metric_type="ip",
                nb_cores=threads(),
                verbose=logging.WARNING,
            )
        said.update(index=infos["index_key"], params=infos["index_param"])

    figures = {"tune": seconds(tune), "tune, whole": since_start()}
    say(figures, {}, ("autofaiss", "faiss-cpu", "numpy"), **said)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
