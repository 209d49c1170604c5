"""The embedded default: scenes, their captions and judgements, and the encoder that ships with them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from imgbench import Corpus, Encoder, Evaluator, Index, InputError, embed
from imgbench.corpora.scenes import MOST, SceneImages
from imgbench.corpora.scenes.captions import Claim, Thing, claim_of, grades, vocabulary, write
from imgbench.corpora.scenes.drawing import draw_scene
from imgbench.corpora.scenes.world import ABSENT, BACKGROUNDS, CLASSES, WEATHERS, draw_world
from imgbench.encoders import scenes

WORLD = draw_world(3000, seed=0)
# Written by this file's own code on 2026-11-20 with Pillow 13.0: they change only if what is drawn changes.
GOLDEN_PIXELS = "7d287e1a1a40bc04ec7afef274a1ec24bda1ff202c6ba1cd93ff4c66d4b68f3d"
GOLDEN_CAPTIONS = "ca2f3840947d12ef047c7153a7656b93b23cabd75da9cae89a68d233c4c1b675"

TOO_MANY_QUERIES = (
    "scenes was asked for 300 queries over 100 images. It writes 2 captions a scene, here 1 to 200. Pass "
    "queries=200 or draw more scenes."
)


def test_the_same_pictures_on_every_machine() -> None:
    pixels = b"".join(draw_scene(WORLD, scene, seed=0).tobytes() for scene in range(40))
    assert hashlib.sha256(pixels).hexdigest() == GOLDEN_PIXELS


def test_the_same_captions_and_judgements_on_every_machine() -> None:
    corpus = Corpus.load("scenes:500", queries=200)
    text = "\n".join(corpus.query_texts) + repr(corpus.qrels.to_dict())
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN_CAPTIONS


def test_a_picture_does_not_depend_on_those_before_it() -> None:
    images = SceneImages(WORLD, seed=0)
    again = images[7].tobytes()
    assert images[3].tobytes() != again
    assert images[7].tobytes() == again


def test_seeds_draw_other_worlds() -> None:
    other = draw_world(3000, seed=1)
    assert (other.background != WORLD.background).mean() > 0.5
    assert Corpus.load("scenes:100", seed=1).fingerprint != Corpus.load("scenes:100").fingerprint


def test_training_shares_no_scene_with_the_gallery() -> None:
    def rows(world):
        return {world.colour[:, at].tobytes() + world.column[:, at].tobytes() for at in range(len(world))}

    gallery, training = rows(WORLD), rows(draw_world(3000, seed=0, stream="training"))
    chance = rows(draw_world(3000, seed=5))
    # Simple scenes come twice by chance; a shared stream would make all of them come twice.
    assert len(gallery & training) < 2 * len(gallery & chance) < len(gallery)


def test_every_attribute_takes_all_its_values() -> None:
    assert set(WORLD.background) == set(range(len(BACKGROUNDS)))
    assert set(WORLD.weather) == set(range(len(WEATHERS)))
    present = WORLD.count != ABSENT
    assert present.any(axis=1).all()
    assert set(present.sum(axis=0)) == {1, 2, 3}
    assert set(WORLD.colour[present]) == set(range(8))
    assert (WORLD.size[WORLD.count > 1] == 0).all()


def test_no_two_groups_share_a_column() -> None:
    for column in range(3):
        assert (WORLD.column == column).sum(axis=0).max() == 1


def test_boats_need_water() -> None:
    boat = CLASSES.index("boat")
    wet = np.isin(WORLD.background, [BACKGROUNDS.index("beach"), BACKGROUNDS.index("harbour")])
    assert not (WORLD.count[boat] != ABSENT)[~wet].any()
    assert (WORLD.count[boat] != ABSENT)[wet].any()


def test_every_caption_is_true_of_its_own_scene() -> None:
    for scene in range(300):
        assert grades(WORLD, claim_of(WORLD, scene, np.random.RandomState(scene)))[scene] == 2


def test_grades_count_the_statements_that_fail() -> None:
    """Against a plain loop over scenes, written from the definition."""
    for scene in range(60):
        claim = claim_of(WORLD, scene, np.random.RandomState(scene))
        found = grades(WORLD, claim)
        for other in range(0, 3000, 7):
            assert found[other] == slow_grade(claim, other)


def slow_grade(claim: Claim, scene: int) -> int:
    wrong = int(claim.background not in (ABSENT, WORLD.background[scene]))
    wrong += claim.weather not in (ABSENT, WORLD.weather[scene])
    for thing in claim.things:
        if WORLD.count[thing.kind, scene] == ABSENT:
            return 0
        wrong += WORLD.count[thing.kind, scene] != thing.count
        wrong += thing.colour not in (ABSENT, WORLD.colour[thing.kind, scene])
        wrong += thing.size not in (ABSENT, WORLD.size[thing.kind, scene])
        wrong += thing.column not in (ABSENT, WORLD.column[thing.kind, scene])
    return max(0, 2 - int(wrong))


def test_captions_read_like_english() -> None:
    claim = Claim((Thing(kind=9, count=1, colour=1), Thing(kind=2, count=3)), background=0, weather=5)
    assert (
        write(claim, np.random.RandomState(0)) == "an orange airplane and three buses on a street in the dark"
    )


def test_the_vocabulary_holds_every_word() -> None:
    dice = np.random.RandomState(0)
    for scene in range(500):
        assert set(write(claim_of(WORLD, scene, dice), dice).split()) <= vocabulary()


@pytest.mark.parametrize(
    "name", ["scenes:50", "scenes:50?seed=3", "scenes:50?seed=3&queries=7", "scenes:50?queries=7"]
)
def test_the_name_loads_the_same_corpus(name: str) -> None:
    corpus = Corpus.load(name)
    assert corpus.name == name
    assert Corpus.load(corpus.name).fingerprint == corpus.fingerprint


def test_the_captions_of_a_scene_form_a_cluster() -> None:
    corpus = Corpus.load("scenes:50", queries=20)
    assert corpus.clusters.tolist() == [number // 2 for number in range(20)]
    assert corpus.cluster_rule == "The captions of one scene form a cluster."


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:5", "scenes was asked for 5 images. It draws 10 to 100,000. Choose a size between."),
        ("scenes:100?queries=300", TOO_MANY_QUERIES),
        (
            "scenes:many",
            (
                "scenes was asked for the size 'many'. It is a whole number. "
                "Write for example scenes:20000?seed=1."
            ),
        ),
        (
            "scenes:20.5",
            (
                "scenes was asked for the size 20.5. It is a whole number. "
                "Write for example scenes:20000?seed=1."
            ),
        ),
        (
            "scenes:100?queries=few",
            (
                "scenes was asked for the queries 'few'. It is a whole number. "
                "Write for example scenes:20000?seed=1."
            ),
        ),
        (
            "scenes:100?size=200",
            (
                "The size of the corpus 'scenes' came twice. What follows the colon says it already. "
                "Leave out size=."
            ),
        ),
        ("scenes:100?seed=-1", "The seed of scenes is -1. A seed is a whole number from 0. Pass seed=0."),
    ],
)
def test_wrong_sizes(spec: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Corpus.load(spec)
    assert str(error.value) == message


def test_the_largest_world_loads() -> None:
    assert len(Corpus.load(f"scenes:{MOST}", queries=10).image_ids) == 100_000


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("scenes", device="cpu")


def test_the_shipped_weights_are_small_and_say_where_they_come_from() -> None:
    assert len(scenes._file("scenes.safetensors").read_bytes()) <= 4_000_000
    training = scenes.about()["training"]
    assert training["minutes"] <= 60
    assert {"seed", "steps", "batch", "torch"} <= set(training)


def test_the_shipped_weights_reach_their_figures(encoder: Encoder) -> None:
    """Over scenes that the training has not seen, as benchmarks/scenes_encoder/measure.py recorded it."""
    recorded = scenes.about()["figures"]["scenes:2000?seed=1&queries=500"]
    corpus = Corpus.load("scenes:2000?seed=1&queries=500")
    images, queries = embed(corpus, encoder, cache=None)
    run = Index.build("Flat", images).search(queries, k=10)
    found = Evaluator(corpus.qrels, list(recorded)).score(run)
    assert found == pytest.approx(recorded, abs=0.005)
    assert found["nDCG@10"] > 0.4


def test_a_caption_finds_its_picture_before_another(encoder: Encoder) -> None:
    corpus = Corpus.load("scenes:60", queries=60)
    texts = encoder.encode_texts(corpus.query_texts)
    pictures = encoder.encode_images([corpus.images[row] for row in range(30)])
    right = (texts @ pictures.T).argmax(axis=1) == np.arange(60) // 2
    assert right.mean() > 0.8  # by chance 1 of 30


def test_the_encoder_comes_in_one_form() -> None:
    message = "The encoder scenes was asked for 'large'. It comes in one form. Write 'scenes' alone."
    with pytest.raises(InputError) as error:
        Encoder.load("scenes:large")
    assert str(error.value) == message
