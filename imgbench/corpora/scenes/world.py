"""What is in each scene: numbers drawn from a seed, the same on every machine and at every size.

A scene has a background, a weather and one to three groups of objects; a group is a class with a colour, a
size, a count and a column of the picture. No class stands twice in a scene, so that each scene has one truth
for every caption. The first n scenes of a larger world are the scenes of the world of size n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int8

CLASSES = (
    "car", "truck", "bus", "van", "tractor", "bicycle", "motorcycle", "train", "boat", "airplane",
    "balloon", "house", "tree", "tent",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
SIZES = ("small", "large")
COLUMNS = ("left", "middle", "right")
BACKGROUNDS = ("city", "beach", "desert", "forest", "mountains", "meadow", "harbour")
WEATHERS = ("sunny", "cloudy", "rainy", "snowy", "foggy", "night")

MOST_GROUPS = 3
ABSENT = -1
_DRAWS = 32  # random numbers a scene owns: more than it uses, so that a new attribute changes no old one
_WET = (BACKGROUNDS.index("beach"), BACKGROUNDS.index("harbour"))
_BOAT = CLASSES.index("boat")


@dataclass(frozen=True, eq=False)
class World:
    """The attributes of `len(world)` scenes; `ABSENT` (-1) where a class is not in a scene."""

    background: Int8[np.ndarray, "scene"]
    weather: Int8[np.ndarray, "scene"]
    colour: Int8[np.ndarray, "class scene"]
    size: Int8[np.ndarray, "class scene"]
    count: Int8[np.ndarray, "class scene"]
    column: Int8[np.ndarray, "class scene"]
    order: Int8[np.ndarray, "group scene"]
    """The classes of a scene in the order in which its captions name them."""

    def __len__(self) -> int:
        return len(self.background)

    def classes_of(self, scene: int) -> list[int]:
        """The classes in one scene, in the order in which captions name them."""
        return [int(kind) for kind in self.order[:, scene] if kind != ABSENT]


def draw_world(size: int, *, seed: int, stream: str = "gallery") -> World:
    """`size` scenes of a seed. The streams 'gallery' and 'training' share no random numbers.

    >>> small, large = draw_world(10, seed=3), draw_world(1000, seed=3)
    >>> bool((small.colour == large.colour[:, :10]).all())
    True
    """
    dice = _dice(size, seed, stream)
    background = _pick(dice[:, 0], len(BACKGROUNDS))
    weather = _pick(dice[:, 1], len(WEATHERS))
    groups = 1 + (_pick(dice[:, 2], 4) + 1) // 2  # 1, 2, 2, 3
    order = _classes(dice[:, 3:7], background, groups)
    columns = _shuffled_columns(dice[:, 7])
    tables = [np.full((len(CLASSES), size), ABSENT, dtype=np.int8) for _ in range(4)]
    scenes = np.arange(size)
    for group in range(MOST_GROUPS):
        here = order[group] != ABSENT
        kinds, at = order[group][here], scenes[here]
        count = np.array([1, 1, 1, 2, 3], dtype=np.int8)[dice[here, 10 + group] % 5]
        large = (dice[here, 14 + group] % 2).astype(np.int8)
        values = (
            _pick(dice[here, 18 + group], len(COLOURS)),
            np.where(count > 1, 0, large).astype(np.int8),  # three large ones do not fit a column
            count,
            columns[group][here],
        )
        for table, value in zip(tables, values, strict=True):
            table[kinds, at] = value
    return World(background, weather, *tables, order=order)


def _dice(size: int, seed: int, stream: str) -> np.ndarray:
    # Raw output of the bit generator: numpy promises it will never change, unlike its distributions.
    entropy = [seed, *stream.encode()]
    return np.random.PCG64(np.random.SeedSequence(entropy)).random_raw((size, _DRAWS)) >> np.uint64(11)


def _pick(dice: np.ndarray, sides: int) -> np.ndarray:
    return (dice % np.uint64(sides)).astype(np.int8)


def _classes(dice: np.ndarray, background: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Distinct classes for each scene: the first three of a random walk over all classes."""
    count = len(CLASSES)
    start = (dice[:, 0] % np.uint64(count)).astype(np.int64)
    step = np.array([1, 3, 5, 9, 11, 13])[dice[:, 1] % np.uint64(6)]  # coprime to 14: a walk never repeats
    walk = (start + np.arange(MOST_GROUPS + 1)[:, None] * step) % count
    # A boat needs water: elsewhere the walk's fourth class takes its place.
    dry = ~np.isin(background, _WET)
    order = np.where((walk[:MOST_GROUPS] == _BOAT) & dry, walk[MOST_GROUPS], walk[:MOST_GROUPS])
    order[np.arange(MOST_GROUPS)[:, None] >= groups] = ABSENT
    return order.astype(np.int8)


def _shuffled_columns(dice: np.ndarray) -> np.ndarray:
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]], dtype=np.int8)
    return orders[dice % np.uint64(len(orders))].T
