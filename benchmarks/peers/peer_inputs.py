"""The inputs that all sides get, made once as files."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np

import imgbench as ib
from imgbench.qrels import Qrels

QUERIES, IMAGES, DEPTH, CAPTIONS = 10_725, 68_154, 100, 5
GALLERY = ("flickr8k_images", "distractors", "test_captions")
PHOTOS = 96  # with five captions each: encoding them by ViT-B-32 takes some ten seconds on two cores


def data() -> Path:
    """The photographs and vectors of others, which are not in this repository."""
    root = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("IMGBENCH_DATA", root.parent / "shared" / "data"))


def scoring(folder: Path) -> Path:
    """A made search at the size of a study: 10,725 queries x 100, no two scores of a query equal."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    photos = QUERIES // CAPTIONS
    relevant = np.arange(QUERIES) // CAPTIONS
    # Steps of at least 1 whose sum is less than a round never meet a row twice.
    steps = rng.integers(1, (IMAGES - photos) // DEPTH, (QUERIES, DEPTH)).cumsum(axis=1)
    rows = steps % (IMAGES - photos) + photos
    hit = np.flatnonzero(rng.random(QUERIES) < 0.6)
    rows[hit, rng.integers(20, size=len(hit))] = relevant[hit]
    scores = np.tile(np.arange(DEPTH, 0, -1, dtype=np.float32), (QUERIES, 1))
    queries = [f"photo_{row // CAPTIONS:05d}_caption_{row % CAPTIONS:02d}" for row in range(QUERIES)]
    images = [f"flickr/{row:06d}.jpg" for row in range(IMAGES)]
    for name, array in {"scores": scores, "rows": rows, "relevant": relevant}.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "queries.txt").write_text("\n".join(queries), encoding="utf-8")
    (folder / "images.txt").write_text("\n".join(images), encoding="utf-8")
    ib.Run.from_search(queries, images, scores, rows).write_trec(folder / "run.trec")
    asked = [images[row] for row in relevant]
    Qrels.from_rows(queries, asked, np.ones(QUERIES, int)).write_trec(folder / "qrels.trec")
    return folder


def retrieval(folder: Path) -> Path:
    """Test photographs of Flickr8k with five captions each, in the form that either library reads."""
    source = data() / "flickr8k-160"
    shutil.rmtree(folder, ignore_errors=True)  # of another number
    (folder / "images").mkdir(parents=True)
    lines = map(json.loads, (source / "captions.jsonl").read_text(encoding="utf-8").splitlines())
    chosen = [line for line in lines if line["split"] == "test"][:PHOTOS]
    for line in chosen:
        shutil.copy(source / line["file"], folder / "images")
    jsonl = "".join(json.dumps(line) + "\n" for line in chosen)
    (folder / "captions.jsonl").write_text(jsonl, encoding="utf-8")
    pairs = [f"{Path(line['file']).name},{caption}" for line in chosen for caption in line["captions"]]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *pairs]) + "\n", encoding="utf-8")
    return folder


def vectors(folder: Path) -> Path:
    """Ready vectors of the 1,000 test photographs and their 5,000 captions, those of a photo side by side."""
    source = data() / "vectors" / "bow-dual-256"
    lines = list(map(json.loads, (source / "rows.jsonl").read_text(encoding="utf-8").splitlines()))
    captions = [line["file"] for line in lines if line["array"] == "test_captions"]
    places = {line["file"]: line["row"] for line in lines if line["array"] == "flickr8k_images"}
    files = list(dict.fromkeys(captions))
    order = np.argsort([files.index(file) for file in captions], kind="stable")
    images = np.load(source / "flickr8k_images.npy")[[places[file] for file in files]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in {"images": images, "texts": np.load(source / "test_captions.npy")[order]}.items():
        whole = array.astype(np.float32)
        np.save(folder / f"{name}.npy", whole / np.linalg.norm(whole, axis=1, keepdims=True))
    return folder


def gallery(folder: Path) -> Path:
    """Ready vectors of 8,091 photographs and 3,588 others, of 5,000 captions, and whose caption each is."""
    source = data() / "vectors" / "bow-dual-256"
    lines = list(map(json.loads, (source / "rows.jsonl").read_text(encoding="utf-8").splitlines()))
    named = {name: [line["file"] for line in lines if line["array"] == name] for name in GALLERY}
    (folder / "autofaiss").mkdir(parents=True, exist_ok=True)
    ids = [*named["flickr8k_images"], *(f"other/{file}" for file in named["distractors"])]
    whole = np.concatenate([np.load(source / f"{name}.npy") for name in GALLERY[:2]]).astype(np.float32)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    asked = np.load(source / "test_captions.npy").astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    np.save(folder / "images.npy", whole)
    np.save(folder / "autofaiss" / "images.npy", whole)
    np.save(folder / "queries.npy", asked)
    queries = [f"caption_{row}" for row in range(len(asked))]
    (folder / "images.ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    (folder / "queries.ids.txt").write_text("\n".join(queries) + "\n", encoding="utf-8")
    with (folder / "qrels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query_id", "document_id", "relevance"])
        writer.writerows(
            (query, photo, 1) for query, photo in zip(queries, named["test_captions"], strict=True)
        )
    return folder
