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
