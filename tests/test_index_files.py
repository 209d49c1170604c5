"""Saved indexes: both files or none, and nothing damaged reaches FAISS."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index, files
from imgbench.index._faiss import faiss


@pytest.fixture
def saved(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    index = Index.build(
        "IVF4,Flat", Embeddings([f"é{row}.jpg" for row in range(200)], x.astype(np.float32)), seed=3
    )
    path = tmp_path / "new" / "x.index"
    index.save(path)
    return path, index


def test_a_place_that_cannot_be_written_to_is_named(saved, tmp_path):
    (tmp_path / "file").write_text("here", encoding="utf-8")
    path = tmp_path / "file" / "flat.index"
    with pytest.raises(InputError) as error:
        saved[1].save(path)
    words = str(error.value)
    assert words.startswith(f"{path} cannot be written (")
    assert words.endswith("). An index is saved as a file. Choose another place.")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file", "new"]


def test_the_sidecar_says_what_it_is(saved):
    path, index = saved
    record = json.loads((path.parent / "x.index.json").read_text())
    assert {name: record[name] for name in ("schema", "spec", "seed", "dim", "bytes")} == {
        "schema": 1, "spec": "IVF4,Flat", "seed": 3, "dim": 16, "bytes": index.bytes,
    }  # fmt: skip
    assert record["faiss"].startswith("faiss 1.")
    again = Index.load(path)
    assert (again.ids, again.train_seconds, again.add_seconds, again.notes) == (
        index.ids, index.train_seconds, index.add_seconds, index.notes,
    )  # fmt: skip
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.index", "x.index.json"]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def change(path, **fields):
    note = files.sidecar(path)
    record = json.loads(note.read_text())
    record.update(fields)
    note.write_text(json.dumps({name: value for name, value in record.items() if value is not ...}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: flip(path, 100),
            "are not those that were saved. Their hash differs. Build the index again",
        ),
        (lambda path: flip(path, -1), "are not those that were saved."),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "are not those that were saved."),
        (lambda path: path.write_bytes(b""), "are not those that were saved."),
        (lambda path: path.unlink(), "There is no index file"),
        (lambda path: files.sidecar(path).unlink(), "An index is saved as two files."),
        (lambda path: files.sidecar(path).write_text("{"), "is not JSON."),
        (lambda path: files.sidecar(path).write_text("[" * 100_000), "is not JSON."),
        (lambda path: files.sidecar(path).write_text("[]"), "has another schema."),
        (lambda path: change(path, schema=2), "has another schema. This version reads schema 1."),
        (lambda path: change(path, ids=["a"] * 200), "is damaged. Missing or changed: ids."),
        (lambda path: change(path, ids=[1] * 200), "is damaged. Missing or changed: ids."),
        (lambda path: change(path, spec=...), "is damaged. Missing or changed: spec."),
        (lambda path: change(path, train_seconds=float("nan")), "Missing or changed: train_seconds."),
        (lambda path: change(path, train_seconds=float("inf")), "Missing or changed: train_seconds."),
        (lambda path: change(path, add_seconds=-0.1), "Missing or changed: add_seconds."),
        (lambda path: change(path, add_seconds=True), "Missing or changed: add_seconds."),
        (lambda path: change(path, add_seconds=10**400), "Missing or changed: add_seconds."),
        (
            lambda path: change(path, dim=8),
            "holds 200 vectors of 16 dimensions. Its description says 200 of 8.",
        ),
    ],
)
def test_damage_is_found_before_faiss_reads(saved, damage, message, monkeypatch):
    path, _ = saved
    damage(path)
    if "dim" not in message:
        monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("FAISS read a damaged file"))
    with pytest.raises(InputError) as caught:
        Index.load(path)
    assert message in str(caught.value)


def test_a_file_that_faiss_cannot_read_is_refused_and_the_limits_come_back(saved):
    path, _ = saved
    limits = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    # Sizes of 2**56 in a file whose hash is right: as a forger would write both.
    path.write_bytes(path.read_bytes()[:60] + b"\xff" * 7 + path.read_bytes()[67:])
    change(path, sha256=files._sha256(path))
    with pytest.raises(InputError, match="FAISS cannot read"):
        Index.load(path)
    assert limits == (faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit())


def test_another_metric_is_refused(saved):
    path, index = saved
    other = faiss.IndexFlatL2(16)
    other.add(np.zeros((200, 16), np.float32))
    files.write(
        path,
        other,
        index.ids,
        {"spec": "Flat", "dim": 16, "seed": 0, "train_seconds": 0.0, "add_seconds": 0.0, "notes": []},
    )
    with pytest.raises(InputError, match="ranks by another metric"):
        Index.load(path)


@pytest.mark.parametrize("broken", ["write_index", "dumps"])
def test_a_failed_save_leaves_the_old_files_and_nothing_else(saved, broken, monkeypatch):
    path, index = saved
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(files.faiss if broken == "write_index" else files.json, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        index.save(path)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_folder_is_no_index_file(saved):
    path, index = saved
    with pytest.raises(InputError, match=r"is a folder. An index is saved as a file."):
        index.save(path.parent)
