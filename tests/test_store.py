"""The store: a killed job ends with the same bytes, damage is found, strangers are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imgbench import store
from imgbench.errors import InputError

IDS = tuple(f"{number}.jpg" for number in range(10))
TIMING = "timing.json"  # the only file whose bytes depend on the clock


def plan(**changes) -> store.Plan:
    return store.Plan(**{
        "kind": "images", "ids": IDS, "content": "c0", "encoder": "fake", "encoder_fingerprint": "sha256:e",
        "dim": 4, "dtype": "float16", "shard_rows": 3, **changes,
    })  # fmt: skip


class Fake:
    """Item number i becomes the unit vector of axis i mod 4; unreadable items are passed over."""

    def __init__(self, unreadable=(), stop_at=None):
        self.unreadable, self.stop_at, self.calls = set(unreadable), stop_at, []

    def __call__(self, span):
        if self.stop_at in span:
            raise KeyboardInterrupt
        self.calls.append(span)
        places = [place for place, item in enumerate(span) if item not in self.unreadable]
        failures = [(place, "damaged") for place, item in enumerate(span) if item in self.unreadable]
        return (
            np.eye(4, dtype=np.float32)[[span[place] % 4 for place in places]].reshape(-1, 4),
            places,
            failures,
        )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != TIMING}


def filled(folder: Path, encode=None, **changes) -> Path:
    store.fill(folder, plan(**changes), encode or Fake())
    return folder


def test_rows_come_back_in_order(tmp_path):
    stored = store.read(filled(tmp_path / "s"))
    assert stored.ids == IDS
    assert stored.vectors.dtype == np.float16
    assert stored.vectors.argmax(axis=1).tolist() == [number % 4 for number in range(10)]
    assert stored.rows_per_second > 0
    assert sorted(contents(tmp_path / "s")) == [
        "ids.jsonl", "manifest.json", *(f"shard-0000{number}.npy" for number in range(4)),
    ]  # fmt: skip


def test_a_single_shard_is_mapped(tmp_path):
    stored = store.read(filled(tmp_path / "s", shard_rows=100))
    assert isinstance(stored.vectors, np.memmap)


def test_unreadable_items_have_no_row_and_a_line(tmp_path):
    stored = store.read(filled(tmp_path / "s", Fake(unreadable=[1, 3, 4, 5, 9])))
    assert stored.ids == ("0.jpg", "2.jpg", "6.jpg", "7.jpg", "8.jpg")
    assert stored.vectors.argmax(axis=1).tolist() == [0, 2, 2, 3, 0]
    assert stored.quarantine == tuple((f"{number}.jpg", "damaged") for number in (1, 3, 4, 5, 9))


def test_a_complete_store_is_not_encoded_or_written_again(tmp_path):
    folder = filled(tmp_path / "s")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = Fake()
    filled(folder, again)
    assert again.calls == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("stop_at", [0, 1, 4, 7, 9])
def test_an_interrupted_job_continues_and_ends_with_the_same_bytes(tmp_path, stop_at):
    whole = contents(filled(tmp_path / "whole", Fake(unreadable=[4])))
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path / "s", Fake(unreadable=[4], stop_at=stop_at))
    if stop_at > 2:
        with pytest.raises(InputError, match=r"s is no complete store of embeddings\. Wanted all shards\."):
            store.read(tmp_path / "s")
    rest = Fake(unreadable=[4])
    filled(tmp_path / "s", rest)
    assert [span.start for span in rest.calls] == [start for start in (0, 3, 6, 9) if start + 2 >= stop_at]
    assert contents(tmp_path / "s") == whole


_JOB = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import Fake, plan
from imgbench import store

def slow(span):
    time.sleep(60 if str(span.start) == sys.argv[3] else 0.1)
    return Fake(unreadable=[4])(span)

store.fill(Path(sys.argv[1]), plan(), slow)
"""


def _job(folder: Path, *, hang_at: int = -1) -> subprocess.Popen[bytes]:
    arguments = [str(folder), str(Path(__file__).parent), str(hang_at)]
    return subprocess.Popen([sys.executable, "-c", _JOB, *arguments])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_leaves_nothing_half_written(tmp_path):
    whole = contents(filled(tmp_path / "whole", Fake(unreadable=[4])))
    job = _job(tmp_path / "s", hang_at=6)
    deadline = time.monotonic() + 20
    while not (tmp_path / "s" / "shard-00001.npy").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(job.pid, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert not (tmp_path / "s" / "ids.jsonl").exists()
    (tmp_path / "s" / ".shard-00002.npy.1.part").write_bytes(b"half")  # killed while it wrote
    rest = Fake(unreadable=[4])
    filled(tmp_path / "s", rest)
    assert len(rest.calls) < 4
    assert contents(tmp_path / "s") == whole


def test_two_processes_take_turns(tmp_path):
    whole = contents(filled(tmp_path / "whole", Fake(unreadable=[4])))
    jobs = [_job(tmp_path / "s") for _ in range(2)]
    assert [job.wait(timeout=30) for job in jobs] == [0, 0]
    assert contents(tmp_path / "s") == whole
    timing = json.loads((tmp_path / "s" / TIMING).read_text())
    if os.name == "posix":  # elsewhere both may do the work
        assert timing["rows"] == 10


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_a_damaged_shard_is_encoded_again_and_said(tmp_path, damage):
    folder = filled(tmp_path / "s")
    whole = contents(folder)
    damage(folder / "shard-00001.npy")
    with pytest.raises(
        InputError, match=r"A file of .* is damaged\. Wanted the bytes that the manifest names\."
    ):
        store.read(folder)
    again = Fake()
    with pytest.warns(UserWarning, match=r"shard-00001\.npy is damaged or gone: encoding it again\."):
        filled(folder, again)
    assert again.calls == [range(3, 6)]
    assert contents(folder) == whole


def test_one_flipped_bit_is_found(tmp_path):
    folder = filled(tmp_path / "s")
    content = bytearray((folder / "shard-00002.npy").read_bytes())
    content[-1] ^= 1
    (folder / "shard-00002.npy").write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        store.read(folder)


def test_damaged_ids_are_written_again(tmp_path):
    folder = filled(tmp_path / "s")
    whole = contents(folder)
    (folder / "ids.jsonl").write_text('"x"\n')
    with pytest.raises(InputError, match="is damaged"):
        store.read(folder)
    again = Fake()
    filled(folder, again)
    assert again.calls == []
    assert contents(folder) == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_fingerprint": "sha256:x"}, "has the encoder_fingerprint 'sha256:e'. Wanted 'sha256:x'."),
        ({"content": "c1"}, "has the content 'c0'. Wanted 'c1'."),
        ({"dim": 5}, "has the dim 4. Wanted 5."),
        ({"dtype": "float32"}, "has the dtype 'float16'. Wanted 'float32'."),
        ({"kind": "texts"}, "has the kind 'images'. Wanted 'texts'."),
        ({"ids": IDS[:9]}, "has the items 10. Wanted 9."),
    ],
)
def test_a_store_of_something_else_is_refused(tmp_path, changes, message):
    folder = filled(tmp_path / "s")
    whole = contents(folder)
    with pytest.raises(InputError) as caught:
        filled(folder, **changes)
    assert message in str(caught.value)
    assert "Delete the folder, or choose another cache." in str(caught.value)
    assert contents(folder) == whole
    assert plan(**changes).key != plan().key


def test_the_key_is_of_content_not_of_layout_or_name():
    assert plan(shard_rows=5, encoder="alias").key == plan().key
    assert plan(ids=("x", *IDS[1:])).key != plan().key


def test_another_shard_size_uses_what_is_there(tmp_path):
    folder = filled(tmp_path / "s")
    again = Fake()
    filled(folder, again, shard_rows=5)
    assert again.calls == []


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "[" * 100_000, "{}", '{"shards": 5, "shard_rows": 3}', '{"shards": [], "shard_rows": "a"}',
        '{"shards": [], "shard_rows": 0}', '{"shards": [{"x": 1}], "shard_rows": 3}',
        '{"shards": [{"sha256": "0", "rows": 1, "quarantine": ["a"]}], "shard_rows": 3}',
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_refused(text, tmp_path):
    folder = filled(tmp_path / "s")
    (folder / "manifest.json").write_text(text)
    for use in (store.read, filled):
        with pytest.raises(InputError, match=r"manifest\.json is damaged\. Wanted the manifest of a store\."):
            use(folder)


def test_an_encoder_that_gives_another_shape_leaves_no_shard(tmp_path):
    with pytest.raises(
        InputError, match=r"fake gave \(3, 4\) for 3 of 3 images\. Wanted one row of 5 values"
    ):
        filled(tmp_path / "s", dim=5)
    assert list((tmp_path / "s").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"file cannot be written to: File exists\. Wanted a folder to write to\."
    ):
        filled(tmp_path / "file" / "s")
    (tmp_path / "s.lock").mkdir()  # refused even to root, for whom no permission is missing
    with pytest.raises(InputError, match=r"cannot be written to: Is a directory\. Wanted a folder"):
        filled(tmp_path / "s")
