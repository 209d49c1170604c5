"""Captions as JSON lines."""

from __future__ import annotations

import json

import pytest

from imgbench.corpus import Corpus
from imgbench.errors import InputError

ROWS = [
    {"file": "images/1.jpg", "captions": ["a red car", "one car"], "split": "test"},
    {"file": "images/2.jpg", "captions": ["a boat"], "split": "train"},
    {"file": "images/3.jpg", "captions": []},
]


def make(root, rows=ROWS, files=("1.jpg", "2.jpg", "3.jpg")):
    (root / "images").mkdir(exist_ok=True)
    for name in files:
        (root / "images" / name).write_bytes(name.encode())
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    (root / "captions.jsonl").write_text(text, encoding="utf-8")
    return root


def test_every_caption_is_a_query_for_its_image(tmp_path):
    for spec in (make(tmp_path), tmp_path / "captions.jsonl", f"captions:{tmp_path}"):
        corpus = Corpus.load(spec)
        assert corpus.image_ids == ("1.jpg", "2.jpg", "3.jpg")
        assert corpus.query_ids == ("1_caption_00", "1_caption_01", "2_caption_00")
        assert corpus.query_texts == ("a red car", "one car", "a boat")
        assert corpus.qrels.to_dict()["1_caption_01"] == {"1.jpg": 1}
        assert corpus.clusters.tolist() == [0, 0, 1]
        assert corpus.notices == ()


def test_split_and_gallery(tmp_path):
    make(tmp_path)
    test = Corpus.load(f"{tmp_path}?split=test")
    assert (test.image_ids, test.query_ids) == (("1.jpg",), ("1_caption_00", "1_caption_01"))
    assert test.name == f"{tmp_path.name}/test"
    whole = Corpus.load(tmp_path, split="test", gallery="all")
    assert (len(whole.image_ids), whole.query_ids) == (3, test.query_ids)
    with pytest.raises(
        InputError, match=r"'tset' is not a split of this file\. Known: test, train\. Did you mean 'te"
    ):
        Corpus.load(tmp_path, split="tset")
    with pytest.raises(InputError, match=r"'al' is not a gallery\. Known: all, split\. Did you mean 'all'\?"):
        Corpus.load(tmp_path, gallery="al")


def test_absent_files_are_counted(tmp_path):
    corpus = Corpus.load(make(tmp_path, files=("1.jpg",)))
    assert corpus.image_ids == ("1.jpg",)
    assert [(notice.kind, notice.examples) for notice in corpus.notices] == [
        ("absent files", ("images/3.jpg",)),
        ("missing images", ("2.jpg",)),
    ]
    assert corpus.qrels.to_dict()["2_caption_00"] == {"2.jpg": 1}


def test_equal_stems_get_their_path(tmp_path):
    (tmp_path / "images" / "b").mkdir(parents=True)
    rows = [{"file": f"images/{name}", "captions": ["x"]} for name in ("1.jpg", "b/1.jpg")]
    corpus = Corpus.load(make(tmp_path, rows, files=("1.jpg", "b/1.jpg")))
    assert corpus.query_ids == ("1.jpg_caption_00", "b/1.jpg_caption_00")


def test_a_file_listed_twice_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"1 image ids come more than once \('1\.jpg'\)"):
        Corpus.load(make(tmp_path, [ROWS[0], {"file": "images/1.jpg", "captions": []}]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "names no file"),
        ('{"captions": ["x"]}', "names no file"),
        ('{"file": "images/1.jpg"}', "has the captions None"),
        ('{"file": "images/1.jpg", "captions": "x"}', "has the captions 'x'"),
        ('{"file": "images/1.jpg", "captions": ["x", " "]}', "List texts that are not empty."),
    ],
)
def test_a_bad_line_is_named(tmp_path, row, message):
    with pytest.raises(InputError) as caught:
        Corpus.load(make(tmp_path, [ROWS[0], row]))
    assert str(caught.value).startswith(f"Line 2 of {tmp_path / 'captions.jsonl'} ")
    assert message in str(caught.value)


def test_a_file_is_not_the_folder_itself(tmp_path):
    with pytest.raises(
        InputError, match=r"names the image '\.'\. An image lies inside the corpus's folder\."
    ):
        Corpus.load(make(tmp_path, [ROWS[0], {"file": ".", "captions": ["x"]}]))


def test_files_stay_inside(tmp_path):
    inside = tmp_path / "c"
    inside.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"names the image 'images/../../secret\.jpg'"):
        Corpus.load(make(inside, [{"file": "images/../../secret.jpg", "captions": ["x"]}]))
    make(inside, [{"file": "images/link.jpg", "captions": ["x"]}])
    (inside / "images" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(InputError, match=r"link\.jpg leads out of the corpus"):
        Corpus.load(inside)
    assert Corpus.load(inside, follow_links=True).image_ids == ("link.jpg",)


@pytest.mark.data
def test_flickr8k(data):
    corpus = Corpus.load(data / "flickr8k-160")
    assert (len(corpus.image_ids), len(corpus.query_ids), corpus.cluster_count) == (8_091, 40_455, 8_091)
    assert corpus.notices == ()
    test = Corpus.load(data / "flickr8k-160", split="test")
    assert (len(test.image_ids), len(test.query_ids), test.cluster_count) == (1_000, 5_000, 1_000)
    assert set(test.query_ids) < set(corpus.query_ids)
    both = [
        corpus.image_ids.index(f"{name}.jpg") for name in ("3050606344_af711c726c", "2851198725_37b6027625")
    ]
    assert corpus.images.part(both[:1]).digest() == corpus.images.part(both[1:]).digest()  # the known pair
