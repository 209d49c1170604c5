"""The embedded default corpus: pictures drawn by code, whose relevance judgements are complete and graded.

Because the truth of every scene is known, every image is judged against every query: grade 2 where all that
the caption says is true, grade 1 where all but one statement is. No corpus of photographs can offer that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources

import numpy as np
import PIL
from PIL import Image

from imgbench.corpora.scenes.captions import claim_of, grades, write
from imgbench.corpora.scenes.drawing import draw_scene
from imgbench.corpora.scenes.world import World, draw_world
from imgbench.corpus import Corpus, ImageSource
from imgbench.errors import InputError
from imgbench.qrels import Qrels

DEFAULT_SIZE = 20_000
DEFAULT_QUERIES = 4_000
FEWEST, MOST = 10, 100_000
CAPTIONS_A_SCENE = 2


class SceneImages(ImageSource):
    """The pictures of a world, drawn when they are asked for."""

    def __init__(self, world: World, *, seed: int) -> None:
        self._world, self._seed = world, seed

    def __len__(self) -> int:
        return len(self._world)

    def __getitem__(self, row: int) -> Image.Image:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return draw_scene(self._world, row, seed=self._seed)

    def digest(self) -> str:
        """SHA-256 over everything that decides the pixels: the drawing code, Pillow's version, seed and
        size.
        """
        state = hashlib.sha256(f"{PIL.__version__}/{self._seed}/{len(self)}".encode())
        for name in ("world.py", "drawing.py", "objects.py"):
            state.update(resources.files(__package__ or __name__).joinpath(name).read_bytes())
        return state.hexdigest()


def load(size: int = DEFAULT_SIZE, *, seed: int = 0, queries: int | None = None) -> Corpus:
    """`size` scenes and captions (4,000 or two a scene) of the first of them, with complete graded relevance.

    A query's cluster is the scene that it was written from. Raises InputError for a size outside 10 to
    100,000 or for more queries than two a scene.

    >>> load(100, queries=20)
    Corpus('scenes:100?queries=20': 100 images, 20 queries in 10 clusters, ...)
    """
    _check(size, 1 if queries is None else queries, seed)
    usual = min(DEFAULT_QUERIES, CAPTIONS_A_SCENE * size)
    queries = usual if queries is None else queries
    world = draw_world(size, seed=seed)
    texts, judgements, clusters = {}, [], {}
    for number in range(queries):
        scene = number // CAPTIONS_A_SCENE
        name = f"{_name(scene)}_caption_{number % CAPTIONS_A_SCENE:02d}"
        text, grade = _ask(world, scene, seed=seed, number=number)
        texts[name], clusters[name] = text, _name(scene)
        judgements.extend(_judged(name, grade))
    return Corpus.build(
        name=_spec(size, seed=seed, queries=None if queries == usual else queries),
        images=(tuple(_name(scene) for scene in range(size)), SceneImages(world, seed=seed)),
        queries=texts,
        qrels=Qrels.from_rows(*zip(*judgements, strict=True)),
        clusters=clusters,
        cluster_rule="The captions of one scene form a cluster.",
        source="drawn by imgbench.corpora.scenes",
        licence="that of imgbench",
    )


def _check(size: int, queries: int, seed: int) -> None:
    for what, value in {"size": size, "queries": queries, "seed": seed}.items():
        if not isinstance(value, int) or isinstance(value, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"scenes was asked for the {what} {value!r}.",
                "It is a whole number.",
                "Write for example scenes:20000?seed=1.",
            )
    if not FEWEST <= size <= MOST:
        raise InputError(
            f"scenes was asked for {size:,} images.",
            f"It draws {FEWEST} to {MOST:,}.",
            "Choose a size between.",
        )
    most = CAPTIONS_A_SCENE * size
    if not 1 <= queries <= most:
        raise InputError(
            f"scenes was asked for {queries:,} queries over {size:,} images.",
            f"It writes {CAPTIONS_A_SCENE} captions a scene, here 1 to {most:,}.",
            f"Pass queries={min(most, DEFAULT_QUERIES)} or draw more scenes.",
        )
    if seed < 0:
        raise InputError(f"The seed of scenes is {seed}.", "A seed is a whole number from 0.", "Pass seed=0.")


def _spec(size: int, *, seed: int, queries: int | None) -> str:
    """What `Corpus.load` takes for this corpus."""
    options = [f"seed={seed}"] * bool(seed) + [f"queries={queries}"] * (queries is not None)
    return f"scenes:{size}" + ("?" + "&".join(options) if options else "")


def _name(scene: int) -> str:
    return f"scene_{scene:06d}"


def _ask(world: World, scene: int, *, seed: int, number: int) -> tuple[str, np.ndarray]:
    digest = hashlib.blake2b(f"caption/{seed}/{number}".encode(), digest_size=16).digest()
    dice = np.random.RandomState(np.frombuffer(digest, dtype=np.uint32))  # its stream is frozen
    claim = claim_of(world, scene, dice)
    return write(claim, dice), grades(world, claim)


def _judged(query: str, grade: np.ndarray) -> Iterator[tuple[str, str, int]]:
    # Grade 0 needs no row: what is not judged relevant is not relevant, and here that is known to be true.
    for scene in np.flatnonzero(grade):
        yield query, _name(int(scene)), int(grade[scene])
