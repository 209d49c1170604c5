"""Indexes that are kept: built once for the same inputs, anew for any other, never believed when damaged."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from imgbench import Embeddings, Index
from imgbench.complete import locked
from imgbench.errors import InputError
from imgbench.index import kept
from imgbench.index.kept import Shelf
from imgbench.index.spec import IndexSpec

IVF, HNSW, FLAT = (IndexSpec.parse(text) for text in ("IVF4,Flat?nprobe=4", "HNSW8", "Flat"))


def embeddings(seed: int = 0, images: int = 300) -> Embeddings:
    dice = np.random.default_rng(seed)
    return Embeddings.normalised([f"{row}.jpg" for row in range(images)], dice.normal(size=(images, 16)))


@dataclass
class Builds:
    """Which indexes were built, and not read."""

    names: list[str] = field(default_factory=list)


@pytest.fixture
def builds() -> Iterator[Builds]:
    found, build = Builds(), Index.build

    def counted(spec: IndexSpec, images: Embeddings, **options) -> Index:
        found.names.append(spec.name)
        return build(spec, images, **options)

    with mock.patch.object(kept.Index, "build", counted):
        yield found


def index_file(cache: Path) -> Path:
    (found,) = cache.glob("indexes/*/index.faiss")
    return found


def test_the_second_time_nothing_is_built_and_all_is_the_same(builds: Builds, tmp_path: Path) -> None:
    images, queries = embeddings(), embeddings(1, 20)
    first, cached = Shelf(images, tmp_path).index(HNSW)
    again, cached_again = Shelf(images, tmp_path).index(HNSW)
    assert (cached, cached_again) == (False, True)
    assert builds.names == ["HNSW8"]
    assert again.search(queries, 5).to_dict() == first.search(queries, 5).to_dict()
    for name in ("spec", "ids", "dim", "seed", "train_seconds", "add_seconds", "notes", "bytes"):
        assert getattr(again, name) == getattr(first, name)


def test_the_size_of_a_kept_index_is_that_of_its_bytes(tmp_path: Path) -> None:
    plain = Index.build(IVF, embeddings())
    index, _ = Shelf(embeddings(), tmp_path).index(IVF)
    assert index.bytes == plain.bytes == index_file(tmp_path).stat().st_size


@pytest.mark.parametrize(
    ("images", "spec", "options"),
    [
        (embeddings(2), IVF, {}),
        (Embeddings([f"other {row}" for row in range(300)], embeddings().vectors), IVF, {}),
        (embeddings().astype("float16"), IVF, {}),
        (embeddings(), IndexSpec.parse("IVF8,Flat"), {}),
        (embeddings(), IVF, {"seed": 1}),
        (embeddings(), IVF, {"threads": 1}),
    ],
    ids=["vectors", "ids", "dtype", "spec", "seed", "threads"],
)
def test_another_input_is_another_index(
    builds: Builds, tmp_path: Path, images: Embeddings, spec: IndexSpec, options: dict[str, int]
) -> None:
    Shelf(embeddings(), tmp_path).index(IVF, threads=2)
    _, cached = Shelf(images, tmp_path).index(spec, **{"threads": 2} | options)
    assert not cached
    assert builds.names == ["IVF4,Flat", spec.name]


@pytest.mark.parametrize("name", ["compile_options", "environment.cpu", "digest"])
def test_another_faiss_machine_or_version_builds_anew(builds: Builds, tmp_path: Path, name: str) -> None:
    Shelf(embeddings(), tmp_path).index(IVF)
    with mock.patch(f"imgbench.index.kept.{name}", return_value="another"):
        _, cached = Shelf(embeddings(), tmp_path).index(IVF)
    assert not cached
    assert len(builds.names) == 2


def test_the_grid_is_no_part_of_an_index(builds: Builds, tmp_path: Path) -> None:
    Shelf(embeddings(), tmp_path).index(IVF)
    _, cached = Shelf(embeddings(), tmp_path).index(IndexSpec.parse("IVF4,Flat?nprobe=1,2"))
    assert cached
    assert builds.names == ["IVF4,Flat"]


def test_exact_search_is_never_kept(tmp_path: Path) -> None:
    _, cached = Shelf(embeddings(), tmp_path).index(FLAT)
    assert not cached
    assert list(tmp_path.iterdir()) == []


def test_without_a_cache_nothing_is_kept(builds: Builds) -> None:
    for _ in range(2):
        assert Shelf(embeddings()).index(IVF)[1] is False
    assert builds.names == ["IVF4,Flat"] * 2


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def other_ids(path: Path) -> None:
    said = json.loads(path.with_name("index.faiss.json").read_text())
    path.with_name("index.faiss.json").write_text(json.dumps(said | {"ids": ["x"] * len(said["ids"])}))


@pytest.mark.parametrize(
    "harm",
    [flip, other_ids, Path.unlink, lambda path: path.with_name("index.faiss.json").write_text("{}")],
    ids=["bytes", "ids", "gone", "description"],
)
def test_what_is_damaged_is_built_again_with_a_warning(builds: Builds, tmp_path: Path, harm) -> None:
    first, _ = Shelf(embeddings(), tmp_path).index(IVF)
    path = index_file(tmp_path)
    before = path.read_bytes()
    harm(path)
    with pytest.warns(UserWarning, match="index.faiss is damaged or gone: building IVF4,Flat again"):
        again, cached = Shelf(embeddings(), tmp_path).index(IVF)
    assert not cached
    assert again.bytes == first.bytes
    assert builds.names == ["IVF4,Flat"] * 2
    assert path.read_bytes() == before
    assert Shelf(embeddings(), tmp_path).index(IVF)[1]


def test_an_index_of_other_images_under_this_name_is_not_believed(builds: Builds, tmp_path: Path) -> None:
    Shelf(embeddings(), tmp_path / "a").index(IVF)
    Shelf(embeddings(2), tmp_path / "b").index(HNSW)
    shutil.copy(index_file(tmp_path / "b"), index_file(tmp_path / "a"))
    note = index_file(tmp_path / "b").with_name("index.faiss.json")
    shutil.copy(note, index_file(tmp_path / "a").with_name("index.faiss.json"))
    with pytest.warns(UserWarning, match="damaged or gone"):
        _, cached = Shelf(embeddings(), tmp_path / "a").index(IVF)
    assert not cached
    assert builds.names == ["IVF4,Flat", "HNSW8", "IVF4,Flat"]


def test_a_cache_that_cannot_be_written_to_is_a_warning(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match=r"cannot be written to: .*\. Indexes are not kept there\."):
        index, cached = Shelf(embeddings(), tmp_path / "file").index(IVF)
    assert (len(index), cached, builds.names) == (300, False, ["IVF4,Flat"])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("write error")])
def test_a_full_disk_is_a_warning_and_leaves_nothing_half(tmp_path: Path, error: Exception) -> None:
    with (
        mock.patch("imgbench.index.files.faiss.write_index", side_effect=error),
        pytest.warns(UserWarning, match="cannot be written to .*: the index is not kept"),
    ):
        index, _ = Shelf(embeddings(), tmp_path).index(IVF)
    assert len(index) == 300
    assert list(tmp_path.glob("indexes/*/*")) == []


def test_two_that_want_the_same_index_build_it_once(builds: Builds, tmp_path: Path) -> None:
    cached: list[bool] = []

    def want() -> None:
        cached.append(Shelf(embeddings(), tmp_path).index(HNSW)[1])

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cached) == [False, True, True]
    assert builds.names == ["HNSW8"]


def entry(cache: Path) -> Path:
    return index_file(cache).parent


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@pytest.mark.parametrize(
    ("images", "seed"), [(embeddings(2), 0), (embeddings(), 1)], ids=["other vectors", "another seed"]
)
def test_two_whole_entries_that_were_exchanged_are_not_believed(
    builds: Builds, tmp_path: Path, images: Embeddings, seed: int
) -> None:
    first, _ = Shelf(embeddings(), tmp_path).index(IVF)
    mine = entry(tmp_path)
    Shelf(images, tmp_path).index(IVF, seed=seed)
    (other,) = set(mine.parent.glob("*/")) - {mine}
    exchange(mine, other)
    with pytest.warns(UserWarning, match="damaged or gone"):
        again, cached = Shelf(embeddings(), tmp_path).index(IVF)
    assert (cached, again.seed, len(builds.names)) == (False, 0, 3)
    queries = embeddings(1, 20)
    assert again.search(queries, 5).to_dict() == first.search(queries, 5).to_dict()


@pytest.mark.parametrize(
    "change", [{"train_seconds": 5.0}, {"add_seconds": -1.0}, {"add_seconds": float("nan")}, {"notes": ["x"]}]
)
def test_times_and_notes_that_were_changed_are_not_believed(tmp_path: Path, change: dict) -> None:
    first, _ = Shelf(embeddings(), tmp_path).index(IVF)
    note = index_file(tmp_path).with_name("index.faiss.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | change))
    with pytest.warns(UserWarning, match="damaged or gone"):
        again, cached = Shelf(embeddings(), tmp_path).index(IVF)
    assert (cached, again.notes) == (False, first.notes)


def test_a_label_that_is_no_json_is_not_believed(tmp_path: Path) -> None:
    Shelf(embeddings(), tmp_path).index(IVF)
    (entry(tmp_path) / "kept.json").write_text("{")
    with pytest.warns(UserWarning, match="damaged or gone"):
        assert not Shelf(embeddings(), tmp_path).index(IVF)[1]
    assert Shelf(embeddings(), tmp_path).index(IVF)[1]


def test_what_was_interrupted_is_built_again_in_silence_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        mock.patch("imgbench.index.files.faiss.write_index", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        Shelf(embeddings(), tmp_path).index(IVF)
    (folder,) = tmp_path.glob("indexes/*/")
    for name in (".index.faiss.7.tmp", ".index.faiss.json.7.tmp", ".kept.json.7.part"):
        (folder / name).write_text("of a writer that was killed")
    assert not Shelf(embeddings(), tmp_path).index(IVF)[1]  # a warning would be an error here
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.faiss", "index.faiss.json", "kept.json",
    ]  # fmt: skip
    assert Shelf(embeddings(), tmp_path).index(IVF)[1]


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "somebody's").write_text("kept")


def a_link(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(path.parent.parent / "nowhere")


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("somebody's")


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("index.faiss", a_folder), ("index.faiss", a_link), ("index.faiss.json", a_folder),
        ("kept.json", a_folder), ("", a_file), ("", a_link),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*is damaged or gone")
def test_what_is_in_the_way_is_put_aside(tmp_path: Path, name: str, harm) -> None:
    Shelf(embeddings(), tmp_path).index(IVF)
    path = entry(tmp_path) / name
    harm(path)
    told = rf"{path.name} was in the way of an index and is {path.name}\.\d+\.aside now"
    with pytest.warns(UserWarning, match=told):
        assert not Shelf(embeddings(), tmp_path).index(IVF)[1]
    assert Shelf(embeddings(), tmp_path).index(IVF)[1]
    (aside,) = path.parent.glob("*.aside")
    if not aside.is_symlink():
        assert "somebody's" in (aside.read_text() if aside.is_file() else next(aside.iterdir()).name)


def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path) -> None:
    Shelf(embeddings(), tmp_path / "cache").index(IVF)
    folder = entry(tmp_path / "cache")
    shutil.rmtree(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".precious.tmp").write_text("kept")
    folder.symlink_to(elsewhere)
    with pytest.warns(UserWarning, match="was in the way"):
        Shelf(embeddings(), tmp_path / "cache").index(IVF)
    assert [path.name for path in elsewhere.iterdir()] == [".precious.tmp"]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    Shelf(embeddings(), tmp_path).index(IVF)
    folder = entry(tmp_path)
    shutil.rmtree(folder)
    precious, lock = tmp_path / "precious", folder.with_name(f"{folder.name}.lock")
    precious.write_text("precious")
    lock.unlink()
    lock.symlink_to(precious)
    with pytest.warns(UserWarning, match=r"The lock .*\.lock is a link\. Indexes are not kept there\."):
        index, _ = Shelf(embeddings(), tmp_path).index(IVF)
    assert (len(index), precious.read_text()) == (300, "precious")
    with pytest.raises(InputError) as caught, locked(folder):
        pass
    assert str(caught.value) == (
        f"The lock {lock} is a link. Links are not followed. Remove it, or choose another cache."
    )


def test_a_lock_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_text("precious")
    with locked(tmp_path / "a"):
        pass
    assert (tmp_path / "a.lock").read_text() == "precious"


def test_a_full_disk_is_told_in_plain_words(tmp_path: Path) -> None:
    error = RuntimeError(
        "Error in void faiss::write_HNSW(const HNSW*, IOWriter*) at /faiss/impl/index_write.cpp:360: Error: "
        "'ret == (size)' failed: write error in /dev/full: 977 != 2000 (No space left on device)"
    )
    with (
        mock.patch("imgbench.index.files.faiss.write_index", side_effect=error),
        pytest.warns(UserWarning, match=r"\(write error in /dev/full: 977 != 2000 \(No space") as caught,
    ):
        Shelf(embeddings(), tmp_path).index(IVF)
    assert "Error in void" not in str(caught[0].message)
