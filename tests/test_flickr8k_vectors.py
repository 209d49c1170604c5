"""Ready vectors of photographs through `imgbench run`, to figures that were measured without imgbench."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from photographs import MEASURES, means, note, point, ready

import imgbench as ib
from imgbench import cli

pytestmark = pytest.mark.data

HNSW = {f"HNSW16?efSearch={effort}": found for effort, found in ((10, 0.758), (16, 0.842), (64, 0.972))}
IVF = {f"IVF64,Flat?nprobe={probes}": found for probes, found in ((1, 0.498), (4, 0.822), (16, 0.972))}


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """A function: `imgbench run` over these images, all test captions and their judgements."""

    def call(lines, vectors, *indexes) -> ib.Report:
        np.save(tmp_path / "images.npy", vectors)
        names = "".join(json.dumps(line["file"]) + "\n" for line in lines)
        (tmp_path / "images.ids.jsonl").write_text(names, encoding="utf-8")
        captions, _ = ready(data, "test_captions")
        with (tmp_path / "qrels.csv").open("w", encoding="utf-8", newline="") as file:
            # The captions' vectors came without ids: a query is named by its row.
            judged = ((row, line["file"], 1) for row, line in enumerate(captions))
            csv.writer(file).writerows([("query_id", "document_id", "relevance"), *judged])
        arguments = [
            *("--images", tmp_path / "images.npy", "--qrels", tmp_path / "qrels.csv"),
            *("--queries", data / "vectors" / "bow-dual-256" / "test_captions.npy"),
            *("--latency-calls", 100, "--out", tmp_path / "out"),
            *(word for name in MEASURES for word in ("--measure", name)),
            *(word for spec in indexes for word in ("--index", spec)),
        ]
        monkeypatch.setattr(sys, "argv", ["imgbench", "run", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return ib.Report.load(tmp_path / "out")

    return call


@pytest.mark.parametrize(
    ("distractors", "expected"), [(0, [0.159, 0.396, 0.524]), (3588, [0.138, 0.341, 0.455])]
)
def test_success_on_the_test_split(run, data, distractors, expected, capsys):
    lines, vectors = ready(data, "flickr8k_images")
    test = [row for row, line in enumerate(lines) if line["split"] == "test"]
    others, their_vectors = ready(data, "distractors")
    report = run(
        [lines[row] for row in test] + others[:distractors],
        np.concatenate([vectors[test], their_vectors[:distractors]]),
        "Flat",
    )
    assert f"Success@1 is {means(report)[0]:.4f}" in capsys.readouterr().out
    note(vectors={str(report.results["corpus"]["images"]): means(report)})
    assert report.results["corpus"]["images"] == 1000 + distractors
    assert means(report) == pytest.approx(expected, abs=0.002)


def test_overlap_with_exact_search(run, data):
    parts = [ready(data, array) for array in ("flickr8k_images", "distractors")]
    lines, vectors = [line for lines, _ in parts for line in lines], np.concatenate([x for _, x in parts])
    assert len(vectors) == 11679
    report = run(lines, vectors, "HNSW16?efSearch=10,16,64", "IVF64,Flat?nprobe=1,4,16")
    found = {key: point(report, key)["overlap@10"] for key in HNSW | IVF}
    note(overlap_at_10=found, vectors={"11679": means(report)})
    assert found == pytest.approx(HNSW | IVF, abs=0.02)
    assert report.verify() == []
