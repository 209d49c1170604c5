"""The native folder: the study's files as they are, errors with their line, nothing read outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from imgbench.corpora import folder as native
from imgbench.corpus import Corpus
from imgbench.errors import InputError

QUERIES = "query_id,query_text\nq1,a red car\nq2,one red car\nq3,a boat\n"
QRELS = "query_id,document_id,relevance\nq1,a.jpg,1\nq2,a.jpg,1\nq3,sub/b.png,2\n"


def make(
    root: Path, *, queries=QUERIES, qrels=QRELS, files=("a.jpg", "c.jpg", "sub/b.png"), toml=None
) -> Path:
    root.mkdir(exist_ok=True)
    (root / "queries.csv").write_text(queries, encoding="utf-8", newline="")
    (root / "qrels.csv").write_text(qrels, encoding="utf-8", newline="")
    for name in files:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(name.encode())
    if toml is not None:
        (root / "corpus.toml").write_text(toml, encoding="utf-8")
    return root


def test_images_queries_and_judgements_meet(tmp_path):
    corpus = Corpus.load(make(tmp_path / "toy"))
    assert corpus.name == "toy"
    assert corpus.image_ids == ("a.jpg", "c.jpg", "sub/b.png")
    assert [path.read_bytes() for path in corpus.images] == [b"a.jpg", b"c.jpg", b"sub/b.png"]
    assert corpus.query_texts == ("a red car", "one red car", "a boat")
    assert corpus.qrels.to_dict()["q3"] == {"sub/b.png": 2}
    assert corpus.clusters.tolist() == [0, 0, 1]
    assert corpus.notices == ()


def test_byte_order_mark_crlf_and_quoted_newlines(tmp_path):
    queries = '\ufeffquery_id,query_text\r\nq1,"a red,\r\ncar"\r\nq2,"a ""boat"""\r\nq3,x\r\n'
    corpus = Corpus.load(make(tmp_path / "c", queries=queries, qrels=QRELS.replace("\n", "\r\n")))
    assert corpus.query_texts == ("a red,\r\ncar", 'a "boat"', "x")
    assert corpus.qrels.to_dict()["q1"] == {"a.jpg": 1}


def test_column_cluster(tmp_path):
    queries = "cluster,query_id,query_text\nx,q1,a\ny,q2,b\nx,q3,c\n"
    corpus = Corpus.load(make(tmp_path / "c", queries=queries))
    assert corpus.clusters.tolist() == [0, 1, 0]
    assert "cluster label" in corpus.cluster_rule
    with pytest.raises(InputError, match=r"Line 3 of .*queries\.csv has an empty cluster \(1 such lines\)\."):
        Corpus.load(make(tmp_path / "d", queries=queries.replace("\ny,", "\n,")))


def test_judged_by_file_name(tmp_path):
    corpus = Corpus.load(make(tmp_path / "c", qrels=QRELS.replace("sub/b.png", "b.png")))
    assert corpus.qrels.to_dict()["q3"] == {"sub/b.png": 2}
    assert [notice.kind for notice in corpus.notices] == ["images judged by file name"]
    files = ("a.jpg", "one/b.png", "two/b.png")
    with pytest.raises(InputError, match=r"'b\.png' could be 'one/b\.png' or 'two/b\.png'\."):
        Corpus.load(make(tmp_path / "d", qrels=QRELS.replace("sub/b.png", "b.png"), files=files))


def test_one_common_prefix_is_stripped_and_said(tmp_path):
    files = ("x_a.jpg", "x_b.jpg", "x_c.jpg", "c.jpg", "other.jpg")
    qrels = "query_id,document_id,relevance\nq1,a.jpg,1\nq2,a.jpg,1\nq3,b.jpg,2\n"
    corpus = Corpus.load(make(tmp_path / "c", files=files, qrels=qrels))
    # x_c.jpg keeps its name: c.jpg is another image.
    assert corpus.image_ids == ("c.jpg", "other.jpg", "a.jpg", "b.jpg", "x_c.jpg")
    assert [path.name for path in corpus.images] == ["c.jpg", "other.jpg", "x_a.jpg", "x_b.jpg", "x_c.jpg"]
    assert str(corpus.notices[0]) == (
        "common prefix: 2, stripped from image ids because the judgements name the images without 'x_' "
        "(x_a.jpg, x_b.jpg)."
    )


def test_no_prefix_where_names_match_or_only_a_few_would(tmp_path):
    qrels = "query_id,document_id,relevance\nq1,a.jpg,1\nq2,b.jpg,1\n"
    corpus = Corpus.load(make(tmp_path / "c", files=("a.jpg", "x_b.jpg"), qrels=qrels))
    assert corpus.image_ids == ("a.jpg", "x_b.jpg")
    assert corpus.notices[0].examples == ("b.jpg",)
    with pytest.raises(
        InputError, match=r"None of the 2 judged images is in the corpus \('a\.jpg' is judged, 'w"
    ):
        Corpus.load(make(tmp_path / "d", files=("wb.jpg", "z.jpg"), qrels=qrels))


def test_corpus_toml(tmp_path):
    toml = 'name = "Vehicles"\nsource = "Flickr"\nlicence = "CC BY"\nimage_id = "stem"\n'
    qrels = "query_id,document_id,relevance\nq1,a,1\nq2,b,1\n"
    corpus = Corpus.load(make(tmp_path / "c", toml=toml, qrels=qrels))
    assert (corpus.name, corpus.source, corpus.licence) == ("Vehicles", "Flickr", "CC BY")
    assert corpus.image_ids == ("a", "c", "b")
    named = make(tmp_path / "d", toml='image_id = "name"\n', qrels=QRELS.replace("sub/", ""))
    assert Corpus.load(named).image_ids == ("a.jpg", "c.jpg", "b.png")
    prefixed = make(tmp_path / "e", toml='image_prefix = "sub/"\n', qrels=QRELS.replace("sub/", ""))
    assert Corpus.load(prefixed).image_ids == ("a.jpg", "c.jpg", "b.png")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            'nmae = "x"',
            "'nmae' is not a key of corpus.toml. Known: image_id, image_prefix, licence, name, source.",
        ),
        ('image_id = "file"', "'file' is not an image_id of corpus.toml. Known: name, path, stem."),
        ("name = 3", "Wanted a text. Put it into quotes."),
        ("name = ", "is not TOML"),
    ],
)
def test_bad_corpus_toml(tmp_path, toml, message):
    with pytest.raises(InputError) as caught:
        Corpus.load(make(tmp_path / "c", toml=toml))
    assert message in str(caught.value)


@pytest.mark.parametrize("part", ["images", "queries.csv", "qrels.csv"])
def test_a_missing_part_is_named(tmp_path, part):
    root = make(tmp_path / "c")
    shutil.rmtree(root / part) if part == "images" else (root / part).unlink()
    with pytest.raises(InputError) as caught:
        Corpus.load(root)
    shown = "images/" if part == "images" else part
    assert str(caught.value) == (
        f"{root} lacks {shown}. A corpus has images/, queries.csv and qrels.csv. "
        "Name the folder that holds them, or add what is missing."
    )


def test_images_that_is_a_file(tmp_path):
    root = make(tmp_path / "c", files=())
    (root / "images").touch()
    with pytest.raises(InputError, match=r"lacks images/\. A corpus has images/"):
        Corpus.load(root)


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make(tmp_path / "c")
    assert len(Corpus.load("~/c").image_ids) == 3


def test_no_images(tmp_path):
    (tmp_path / "c" / "images").mkdir(parents=True)
    with pytest.raises(InputError, match=r"There are no images\."):
        Corpus.load(make(tmp_path / "c", files=()))


def test_other_files_are_counted(tmp_path):
    corpus = Corpus.load(
        make(tmp_path / "c", files=("a.JPG", "a.jpg", "sub/b.png", "notes.txt", "sub/Thumbs.db"))
    )
    assert str(corpus.notices[0]) == "other files in images/: 2, left alone (notes.txt, sub/Thumbs.db)."
    assert len(corpus.image_ids) == 3


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_links_stay_inside(tmp_path):
    root = make(tmp_path / "c")
    (root / "images" / "inside.jpg").symlink_to(root / "images" / "a.jpg")
    (root / "images" / "sub" / "up").symlink_to(root / "images")  # without end, if followed blindly
    assert Corpus.load(root).image_ids == ("a.jpg", "c.jpg", "inside.jpg", "sub/b.png")
    (root / "images" / "dead.jpg").symlink_to(root / "images" / "gone.jpg")
    assert "dead.jpg" in Corpus.load(root).image_ids  # counted as unreadable once it is encoded
    (root / "images" / "self.jpg").symlink_to("self.jpg")
    assert "self.jpg" in Corpus.load(root).image_ids
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "images" / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(
        InputError, match=r"out\.jpg leads out of the corpus to .*secret\.jpg\. A corpus keeps"
    ):
        Corpus.load(root)
    assert "out.jpg" in Corpus.load(root, follow_links=True).image_ids


@pytest.mark.parametrize("name", ["../../etc/x.jpg", "/etc/x.jpg", "C:\\x.jpg", "", "."])
def test_judged_names_stay_inside(tmp_path, name):
    with pytest.raises(
        InputError, match=r"qrels\.csv names the image .* An image lies inside the corpus's folder\."
    ):
        Corpus.load(make(tmp_path / "c", qrels=f"{QRELS}q1,{name},1\n"))


def test_saved_and_loaded_again(tmp_path):
    picture = Image.new("RGB", (2, 2), "red")
    images = {"a.jpg": b"1", "sub/b.png": picture, "c.jpg": b"3"}
    (tmp_path / "c.jpg").write_bytes(b"3")
    images["c.jpg"] = tmp_path / "c.jpg"
    corpus = Corpus.build(
        name='the "toy"', images=images, queries={"q1": 'a "red",\ncar', "q2": "x"},
        qrels={"q1": {"a.jpg": 2, "c.jpg": 0}, "q2": {"sub/b.png": 1}}, source="größe", licence="CC0",
    )  # fmt: skip
    again = Corpus.load(native.save(corpus, tmp_path / "saved"))
    assert set(again.image_ids) == set(corpus.image_ids)
    assert (again.name, again.source, again.licence) == (corpus.name, corpus.source, corpus.licence)
    assert again.query_texts == corpus.query_texts
    assert again.qrels.fingerprint == corpus.qrels.fingerprint
    assert again.clusters.tolist() == corpus.clusters.tolist()
    with Image.open(again.images[again.image_ids.index("sub/b.png")]) as image:
        assert image.tobytes() == picture.tobytes()
    with pytest.raises(InputError, match="exists already"):
        native.save(corpus, tmp_path / "saved")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.jpg", "saved"]


def test_saved_ids_without_endings(tmp_path):
    corpus = Corpus.build(
        name="n", images={"1": b"1", "v1.2": b"2"}, queries={"q": "x"}, qrels={"q": {"v1.2": 1}}
    )
    assert Corpus.load(native.save(corpus, tmp_path / "n")).fingerprint == corpus.fingerprint
    mixed = Corpus.build(name="n", images={"a/1": b"1"}, queries={"q": "x"}, qrels={"q": {"a/1": 1}})
    with pytest.raises(InputError, match="Some image ids end like image files"):
        native.save(mixed, tmp_path / "m")


@pytest.mark.data
def test_the_study_as_it_is(data, tmp_path):
    root = tmp_path / "vehicles"
    (root / "images").mkdir(parents=True)
    for name in ("queries.csv", "qrels.csv"):
        shutil.copy(data / "vehicle-search" / name, root)
    judged = native.Qrels.read_csv(root / "qrels.csv").image_ids
    Image.new("RGB", (1, 1)).save(tmp_path / "one.jpg")
    for name in judged:
        os.link(tmp_path / "one.jpg", root / "images" / f"flickr30k_{name}")
    for number in range(1, 101):
        os.link(tmp_path / "one.jpg", root / "images" / f"imagenet1k_vehicles_train_{number:08d}.jpg")
    corpus = Corpus.load(root)
    assert (len(corpus.query_ids), len(corpus.qrels.image_ids), corpus.cluster_count) == (
        10_725,
        2_145,
        2_145,
    )
    assert len(corpus.image_ids) == 2_245
    assert set(corpus.qrels.image_ids) <= set(corpus.image_ids)
    assert "imagenet1k_vehicles_train_00000001.jpg" in corpus.image_ids
    assert [(notice.kind, notice.count) for notice in corpus.notices] == [("common prefix", 2_145)]
    assert "'flickr30k_'" in str(corpus.notices[0])
    assert len(set(corpus.query_texts)) == 10_708
