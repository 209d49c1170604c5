"""Embeddings: the door, other people's files, and embed() from corpus to disk."""

from __future__ import annotations

import io
import json
import re
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

import imgbench as ib
from imgbench import vectorfiles
from imgbench.embeddings import Embeddings, embed
from imgbench.errors import InputError


def unit(rows=6, dim=8, dtype=np.float32, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


# --- the door


@pytest.mark.parametrize(
    ("dtype", "kept"), [("f2", "float16"), ("f4", "float32"), ("f8", "float32"), (">f4", "float32")]
)
def test_types(dtype, kept):
    given = unit().astype(dtype)
    embeddings = Embeddings(range(6), given)
    assert embeddings.vectors.dtype == np.dtype(kept)
    assert embeddings.ids == ("0", "1", "2", "3", "4", "5")
    np.testing.assert_allclose(embeddings.vectors, given, atol=1e-3)
    assert (len(embeddings), embeddings.dim) == (6, 8)


def test_fortran_order_and_lists_become_c_order():
    assert Embeddings(range(6), np.asfortranarray(unit())).vectors.flags.c_contiguous
    assert Embeddings(["a"], [[0.6, 0.8]]).vectors.tolist() == [[np.float32(0.6), np.float32(0.8)]]


def test_what_is_right_already_is_not_copied():
    given = unit()
    assert np.shares_memory(Embeddings(range(6), given).vectors, given)
    assert np.shares_memory(Embeddings(range(6), given).float32(), given)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_what_is_not_finite_is_named(value, dtype):
    vectors = unit(dtype=dtype)
    vectors[2, 1] = vectors[5, 7] = value
    with pytest.raises(
        InputError, match=r"Vectors are not finite: rows 2, 5\. Wanted finite vectors of norm 1\."
    ):
        Embeddings(range(6), vectors)
    with pytest.raises(InputError, match=r"Vectors are not finite: rows 2, 5\."):
        Embeddings.normalised(range(6), vectors)


@pytest.mark.parametrize("factor", [0.98, 1.02, 0, 3, 1e30])
def test_what_has_another_norm_is_named_with_the_remedy(factor):
    vectors = unit()
    vectors[3] *= factor
    with pytest.raises(
        InputError, match=r"do not have norm 1 but, .*: rows 3\. .* Use Embeddings\.normalised\(ids"
    ):
        Embeddings(range(6), vectors)


def test_a_float64_beyond_float32_is_not_finite():
    vectors = unit(dtype="f8")
    vectors[3] *= 1e300
    with pytest.raises(InputError, match=r"Vectors are not finite: rows 3\."):
        Embeddings(range(6), vectors)


def test_tolerance():
    Embeddings(range(6), unit() * 0.991)
    Embeddings(range(6), unit(dim=1024, dtype="f2"))


def test_rows_are_named_beyond_the_first_chunk():
    vectors = np.zeros((9000, 1024), np.float16)
    vectors[:, 0] = 1
    vectors[[8998, 8999], 0] = 2
    with pytest.raises(InputError, match="rows 8998, 8999"):
        Embeddings(range(9000), vectors)


def test_checks_take_little_memory():
    vectors = np.zeros((40_000, 1024), np.float16)  # 82 MB
    vectors[:, 0] = 1
    ids = [str(number) for number in range(40_000)]
    tracemalloc.start()
    Embeddings(ids, vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a"], unit(2), "1 ids came with 2 vectors. Wanted one id a row."),
        (["a", "", "b"], unit(3), "The id of row 1 is empty. Wanted a name. Give every row an id."),
        (["a", "b", "a"], unit(3), "1 ids come again ('a'). An id names one row."),
        (["a"], unit(1)[0], "The vectors have the shape (8,). Wanted (rows, dimensions)."),
        ([], np.zeros((0, 4), np.float32), "The vectors have the shape (0, 4)."),
        (["a"], np.ones((1, 1), np.int64), "The vectors have the type int64. Wanted float16 or float32."),
    ],
)
def test_the_door(ids, vectors, message):
    with pytest.raises(InputError) as caught:
        Embeddings(ids, vectors)
    assert message in str(caught.value)


def test_normalised():
    vectors = unit() * np.array([[1], [2], [1e-3], [1e25], [7], [0.5]], np.float32)
    np.testing.assert_allclose(Embeddings.normalised(range(6), vectors).vectors, unit(), rtol=1e-5)
    assert Embeddings.normalised(range(6), unit(dtype="f2")).vectors.dtype == np.float16
    with pytest.raises(InputError, match=r"Vectors are zero: rows 1\. .* Drop these items\."):
        Embeddings.normalised(["a", "b"], np.array([[1.0, 0], [0, 0]]))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_truncated_keeps_the_first_values_and_the_dtype(dtype):
    x = np.random.default_rng(5).normal(size=(40, 12))
    images = Embeddings.normalised([str(row) for row in range(40)], x.astype(dtype))
    short = images.truncated(5)
    expected = x[:, :5] / np.linalg.norm(x[:, :5], axis=1, keepdims=True)
    assert (short.vectors.dtype, short.ids, short.dim) == (dtype, images.ids, 5)
    np.testing.assert_allclose(short.vectors, expected, atol=2e-3 if dtype == "float16" else 1e-6)
    assert images.truncated(12) is images
    for wrong in (0, 13, -1, True, 2.0):
        with pytest.raises(InputError, match=re.escape(f"dim is {wrong!r}. The vectors have 12 values.")):
            images.truncated(wrong)
    with pytest.raises(InputError, match="Vectors are zero: rows 0"):
        Embeddings(["a"], np.float32([[0, 1]])).truncated(1)


def test_astype_casts_as_the_store_does():
    x = np.random.default_rng(6).normal(size=(30, 8)).astype(np.float32)
    images = Embeddings(
        [str(row) for row in range(30)],
        x / np.linalg.norm(x, axis=1, keepdims=True),
        quarantine=[("x", "damaged")],
        fingerprint="sha256:0",
    )
    half = images.astype("float16")
    assert np.array_equal(half.vectors, images.vectors.astype(np.float16))
    assert (half.ids, half.quarantine, half.fingerprint) == (images.ids, images.quarantine, None)
    assert images.astype("float32") is images
    with pytest.raises(InputError, match="'int8' is not a dtype of embeddings"):
        images.astype("int8")


def test_float32_and_select():
    embeddings = Embeddings(list("abcdef"), unit(dtype="f2"))
    assert embeddings.float32().dtype == np.float32
    assert embeddings.float32().flags.c_contiguous
    np.testing.assert_array_equal(embeddings.float32(), embeddings.vectors)
    for which in (["f", "a"], [5, 0], np.array([5, 0])):
        assert embeddings.select(which).ids == ("f", "a")
        np.testing.assert_array_equal(embeddings.select(which).vectors, embeddings.vectors[[5, 0]])
    assert embeddings.select(np.array([0, 1, 1, 0, 0, 0], bool)).ids == ("b", "c")
    with pytest.raises(InputError, match=r"'x' is not among the 6 rows\."):
        embeddings.select(["a", "x"])
    with pytest.raises(InputError, match=r"6 is not among the 6 rows\."):
        embeddings.select([0, 6])


# --- other people's files


def fbin(path, vectors):
    path.write_bytes(np.array(vectors.shape, "<u4").tobytes() + vectors.astype("<f4").tobytes())


def fvecs(path, vectors):
    heads = np.full((len(vectors), 1), vectors.shape[1], "<i4").view("<f4")
    path.write_bytes(np.hstack([heads, vectors.astype("<f4")]).tobytes())


WRITERS = {".npy": np.save, ".fbin": fbin, ".fvecs": fvecs}


def test_a_writer_for_every_format():
    assert set(WRITERS) == set(vectorfiles.FORMATS)


@pytest.mark.parametrize("suffix", WRITERS)
def test_formats_and_ids(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    WRITERS[suffix](path, unit())
    loaded = Embeddings.load(path)
    np.testing.assert_array_equal(loaded.vectors, unit())
    assert loaded.ids == ("0", "1", "2", "3", "4", "5")
    assert loaded.path == path
    assert Embeddings.load(path, ids=list("abcdef")).ids == tuple("abcdef")
    (tmp_path / "names.txt").write_bytes(b"a\r\nb\r\nc d\r\ne\r\nf\r\ng\r\n")
    assert Embeddings.load(path, ids=tmp_path / "names.txt").ids == ("a", "b", "c d", "e", "f", "g")
    lines = ["a", {"id": "b"}, "c\nd", {"id": 4}, "e", "f"]
    (tmp_path / "v.ids.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Embeddings.load(path).ids == ("a", "b", "c\nd", "4", "e", "f")


@pytest.mark.parametrize("line", ["[[", "3", '{"name": "a"}', "[" * 100_000], ids=lambda line: line[:14])
def test_a_line_that_is_no_id_is_named(tmp_path, line):
    np.save(tmp_path / "v.npy", unit())
    (tmp_path / "v.ids.jsonl").write_text(f'"a"\n{line}\n')
    with pytest.raises(InputError, match=r"v\.ids\.jsonl has the line .*Write one id a line\."):
        Embeddings.load(tmp_path / "v.npy")


def test_npy_is_mapped_and_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "v.npy", unit(dtype="f2"))
    vectors = Embeddings.load(tmp_path / "v.npy").vectors
    assert vectors.dtype == np.float16
    assert isinstance(vectors.base, np.memmap)
    np.save(tmp_path / "evil.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(InputError, match=r"evil\.npy is no \.npy file: "):
        Embeddings.load(tmp_path / "evil.npy")


@pytest.mark.parametrize("suffix", WRITERS)
def test_truncated_and_empty_files_are_errors(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    WRITERS[suffix](path, unit())
    whole = path.read_bytes()
    for content in (b"", whole[:3], whole[:-5], whole[:-4]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"v\{suffix} is no \{suffix} file"):
            Embeddings.load(path)


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    (tmp_path / "v.fbin").write_bytes(np.array([2**31, 2**20], "<u4").tobytes() + bytes(64))
    with pytest.raises(InputError, match="72 bytes do not hold 2147483648 x 1048576 float32"):
        Embeddings.load(tmp_path / "v.fbin")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**31, 2**20)}
    )
    (tmp_path / "v.npy").write_bytes(header.getvalue())
    with pytest.raises(InputError, match=r"v\.npy is no \.npy file"):
        Embeddings.load(tmp_path / "v.npy")
    (tmp_path / "v.fvecs").write_bytes(np.array([2**31 - 1, 0], "<i4").tobytes())
    with pytest.raises(InputError, match="8 bytes do not hold rows of dimension 2147483647"):
        Embeddings.load(tmp_path / "v.fvecs")
    (tmp_path / "w.fvecs").write_bytes(np.array([1, 0, 2, 0], "<i4").tobytes())
    with pytest.raises(InputError, match="rows differ in dimension"):
        Embeddings.load(tmp_path / "w.fvecs")


def test_unnormalised_files(tmp_path):
    np.save(tmp_path / "v.npy", 3 * unit())
    with pytest.raises(InputError, match=r"load\(\.\.\., normalise=True\)"):
        Embeddings.load(tmp_path / "v.npy")
    np.testing.assert_allclose(Embeddings.load(tmp_path / "v.npy", normalise=True).vectors, unit(), rtol=1e-6)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 8), pa.list_(pa.float16())])
def test_parquet(tmp_path, kind):
    vectors = unit(dtype="f2" if kind == pa.list_(pa.float16()) else "f4")
    column = pa.array(list(vectors), type=kind)
    parquet.write_table(
        pa.table({"id": list("abcdef"), "v": column, "n": list(range(6))}), tmp_path / "v.parquet"
    )
    loaded = Embeddings.load(tmp_path / "v.parquet")
    assert loaded.ids == tuple("abcdef")
    np.testing.assert_array_equal(loaded.vectors, vectors)
    assert Embeddings.load(tmp_path / "v.parquet", id_column="n", vector_column="v").ids == tuple("012345")
    with pytest.raises(InputError, match=r"'nn' is not a column of .*v\.parquet\. Known: id, n, v\."):
        Embeddings.load(tmp_path / "v.parquet", id_column="nn")
    with pytest.raises(InputError, match=r"The column 'n' of .*v\.parquet holds int64\. Wanted lists"):
        Embeddings.load(tmp_path / "v.parquet", vector_column="n")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"v": [[1.0, 0.0], [1.0]]}, "The vectors of .* have the lengths"),
        ({"v": [[1.0], None]}, "The column v of .* has 1 empty cells"),
        ({"v": [[1.0, None]]}, "The vectors of"),
        (
            {"v": [[1.0]], "w": [[1.0]]},
            r"has 2 columns of lists \['v', 'w'\]\. Wanted one of vectors\. Pass vector_c",
        ),
        ({"v": [1.0]}, r"has 0 columns of lists \[\]"),
    ],
)
def test_bad_parquet(tmp_path, columns, message):
    parquet.write_table(pa.table(columns), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=message):
        Embeddings.load(tmp_path / "v.parquet")


def test_clip_retrieval(tmp_path):
    vectors, texts = unit(12, dtype="f2"), unit(12, dtype="f2", seed=1)
    for name, values in (("img_emb", vectors), ("text_emb", texts)):
        (tmp_path / name).mkdir()
        for part in range(11):  # 10 comes after 9, and 1 before it
            rows = values[part : part + 1] if part < 10 else values[10:]
            np.save(tmp_path / name / f"{name}_{part}.npy", rows)
    (tmp_path / "metadata").mkdir()
    for part in range(11):
        rows = [part] if part < 10 else [10, 11]
        table = pa.table({"image_path": [f"{row}.jpg" for row in rows], "key": [f"k{row}" for row in rows]})
        parquet.write_table(table, tmp_path / "metadata" / f"metadata_{part}.parquet")
    images = Embeddings.load(tmp_path)
    np.testing.assert_array_equal(images.vectors, vectors)
    assert images.ids == tuple(f"{row}.jpg" for row in range(12))
    captions = Embeddings.load(tmp_path, side="text", id_column="key")
    np.testing.assert_array_equal(captions.vectors, texts)
    assert captions.ids[-1] == "k11"
    with pytest.raises(InputError, match=r"'txt' is not a side\. Known: image, text\. Did you mean 'text'\?"):
        Embeddings.load(tmp_path, side="txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.npy", r"There is no .*none\.npy\."),
        ("v.npz", r"'\.npz' is not a format of vectors\. Known: .* Did you mean '\.npy'\?"),
        ("folder", r"folder has no img_emb/\*\.npy\. Wanted a clip-retrieval folder, or a complete store\."),
    ],
)
def test_what_is_no_file_of_vectors(tmp_path, name, message):
    (tmp_path / "v.npz").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message):
        Embeddings.load(tmp_path / name)


@pytest.mark.data
def test_real_vectors(data):
    folder = data / "vectors" / "bow-dual-256"
    shapes = {"flickr8k_images": (8091, 256), "distractors": (3588, 256), "test_captions": (5000, 256)}
    for name, shape in shapes.items():
        assert Embeddings.load(folder / f"{name}.npy").vectors.shape == shape


# --- embed


class Colours(ib.Encoder):
    """Mean colour of an image, or the colours that a text names; counts what it is asked."""

    name, dim, batch_size = "colours", 4, 2
    asked = 0
    stop_after = 10**9

    def _images(self, images):
        type(self).asked += len(images)
        if type(self).asked > type(self).stop_after:
            raise KeyboardInterrupt
        return [[*np.asarray(image, float).mean(axis=(0, 1)), 1] for image in images]

    def _texts(self, texts):
        type(self).asked += len(texts)
        return [[255 * (colour in text) for colour in ("red", "green", "blue")] + [1] for text in texts]

    def identity(self):
        return {"colours": 1}


@pytest.fixture
def colours():
    Colours.asked, Colours.stop_after = 0, 10**9
    return Colours()


def picture(*colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(file, "PNG")
    return file.getvalue()


def make(**changes) -> ib.Corpus:
    images = {f"{number}.png": picture(60 * number, 255 - 30 * number, 9) for number in range(4)}
    return ib.Corpus.build(**{
        "name": "colours", "images": {**images, "bad.png": b"no image", "red.png": picture(255, 0, 0)},
        "queries": {"q1": "red", "q2": "green"}, "qrels": {"q1": {"red.png": 1}, "q2": {"0.png": 1}},
        **changes,
    })  # fmt: skip


def files(cache):
    return {
        path.relative_to(cache).as_posix(): path.read_bytes()
        for path in cache.rglob("*")
        if path.is_file() and path.name != "timing.json"
    }


@pytest.mark.parametrize("cached", [True, False])
def test_rows_quarantine_and_types(tmp_path, colours, cached):
    images, queries = embed(make(), colours, cache=tmp_path if cached else None, shard_rows=2)
    assert images.ids == ("0.png", "1.png", "2.png", "3.png", "red.png")
    assert images.quarantine == (("bad.png", "no image format that Pillow knows"),)
    assert queries.ids == ("q1", "q2")
    assert images.vectors.dtype == queries.vectors.dtype == np.float16
    assert images.rows_per_second > 0
    best = (queries.float32() @ images.float32().T).argmax(axis=1)
    assert [images.ids[row] for row in best] == ["red.png", "0.png"]
    assert (images.path is not None) == cached


def test_float32_is_what_the_encoder_gave(tmp_path, colours):
    corpus = make()
    images, queries = embed(corpus, colours, cache=tmp_path, dtype="float32")
    np.testing.assert_array_equal(queries.vectors, colours.encode_texts(corpus.query_texts))
    np.testing.assert_array_equal(images.vectors[-1:], colours.encode_images([picture(255, 0, 0)]))


def test_reused_when_nothing_changed_and_made_again_when_anything_did(tmp_path, colours):
    def asked(corpus, encoder=colours, **options):
        Colours.asked = 0
        embed(corpus, encoder, cache=tmp_path, **options)
        return Colours.asked

    assert asked(make()) == 7
    assert asked(make()) == 0
    assert asked(make(name="other", qrels={"q1": {"0.png": 1}})) == 0
    assert asked(make(queries={"q1": "red", "q2": "blue"})) == 2
    images = {"red.png": picture(255, 0, 0), "0.png": picture(0, 255, 1)}
    assert asked(make(images=images)) == 2
    assert asked(make(images={**images, "0.png": picture(0, 255, 2)})) == 2
    assert asked(make(), dtype="float32") == 7

    class Other(Colours):
        def identity(self):
            return {"colours": 2}

    Other.asked = 0
    embed(make(), Other(), cache=tmp_path)
    assert Other.asked == 7


def test_an_interrupted_embed_ends_with_the_same_bytes(tmp_path, colours):
    embed(make(), colours, cache=tmp_path / "whole", shard_rows=2)
    Colours.asked, Colours.stop_after = 0, 6  # in the third shard of images
    with pytest.raises(KeyboardInterrupt):
        embed(make(), colours, cache=tmp_path / "s", shard_rows=2)
    Colours.asked, Colours.stop_after = 0, 10**9
    embed(make(), colours, cache=tmp_path / "s", shard_rows=2)
    assert Colours.asked < 4
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_a_store_is_loaded_without_its_encoder(tmp_path, colours):
    images, _ = embed(make(), colours, cache=tmp_path, shard_rows=2)
    again = Embeddings.load(images.path)
    assert (again.ids, again.quarantine, again.fingerprint) == (
        images.ids,
        images.quarantine,
        images.fingerprint,
    )
    np.testing.assert_array_equal(again.vectors, images.vectors)
    assert repr(again) == "Embeddings(5 x 4 float16, 1 quarantined)"


@pytest.mark.parametrize("cached", [True, False])
def test_no_readable_image_is_an_error(tmp_path, colours, cached):
    corpus = make(images={"0.png": b"x", "red.png": b"y"})
    with pytest.raises(
        InputError, match=r"None of the 2 images can be read \(0\.png: no image format that Pillow"
    ):
        embed(corpus, colours, cache=tmp_path if cached else None)


def test_an_encoder_of_one_side_is_refused_before_any_work(tmp_path):
    class ImagesOnly(Colours):
        sides = frozenset({"image"})

    with pytest.raises(InputError, match=r"colours has no text side\."):
        embed(make(), ImagesOnly(), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dtype": "float61"},
            "'float61' is not a dtype of embeddings. Known: float16, float32.",
        ),
        ({"shard_rows": 0}, "shard_rows is 0. A shard has rows."),
    ],
)
def test_wrong_options(tmp_path, colours, options, message):
    with pytest.raises(InputError) as caught:
        embed(make(), colours, cache=tmp_path, **options)
    assert message in str(caught.value)


@pytest.mark.data
def test_real_photographs(data, colours):
    corpus = ib.Corpus.load(data / "flickr8k-160")
    damaged = corpus.image_ids.index("1798209205_77dbf525b0.jpg")
    rows = [*range(20), damaged]
    ids = [corpus.image_ids[row] for row in rows]
    part = ib.Corpus.build(
        name="part", images=(ids, corpus.images.part(rows)), queries={"q": "x"}, qrels={"q": {ids[0]: 1}}
    )
    images, _ = embed(part, colours, cache=None)
    # At 160 px the damaged photograph decodes, so that nothing is missing.
    assert images.ids == tuple(ids)
    assert images.quarantine == ()
