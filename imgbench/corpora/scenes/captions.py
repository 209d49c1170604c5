"""Captions of scenes, and the truth about which scenes a caption fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int8

from imgbench.corpora.scenes.world import (
    ABSENT,
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    COLUMNS,
    SIZES,
    WEATHERS,
    World,
)

_NAMES = {
    "car": ("car", "automobile"), "truck": ("truck", "lorry"), "bicycle": ("bicycle", "bike"),
    "motorcycle": ("motorcycle", "motorbike"), "airplane": ("airplane", "plane"),
    "balloon": ("balloon", "hot air balloon"), "boat": ("boat", "sailing boat"),
}  # fmt: skip
_PLURALS = {"bus": "buses", "lorry": "lorries"}
_SIZE_WORDS = (("small", "little"), ("large", "big"))
_COUNT_WORDS = {2: ("two",), 3: ("three",)}
_COLUMN_WORDS = (
    ("on the left", "at the left"), ("in the middle", "in the centre"), ("on the right", "at the right"),
)  # fmt: skip
_PLACE_WORDS = {
    "city": ("in the city", "on a street"), "beach": ("on the beach", "by the sea"),
    "desert": ("in the desert", "on sand dunes"), "forest": ("in the forest", "in front of fir trees"),
    "mountains": ("in the mountains", "below snowy peaks"), "meadow": ("on a meadow", "on green grass"),
    "harbour": ("in the harbour", "at the docks"),
}  # fmt: skip
_WEATHER_WORDS = {
    "sunny": ("on a sunny day", "in the sun"), "cloudy": ("on a cloudy day", "under clouds"),
    "rainy": ("in the rain", "on a rainy day"), "snowy": ("in falling snow", "while it snows"),
    "foggy": ("in the fog", "on a foggy day"), "night": ("at night", "in the dark"),
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """What a caption says of one group of objects: `ABSENT` where it says nothing."""

    kind: int
    count: int
    colour: int = ABSENT
    size: int = ABSENT
    column: int = ABSENT


@dataclass(frozen=True)
class Claim:
    """What a caption says of a scene."""

    things: tuple[Thing, ...]
    background: int = ABSENT
    weather: int = ABSENT


def claim_of(world: World, scene: int, dice: np.random.RandomState) -> Claim:
    """Some of what is true of a scene: every class and count, most colours, often place and weather."""

    def sometimes(value: int, chance: float) -> int:
        return value if dice.random_sample() < chance else ABSENT

    things = tuple(
        Thing(
            kind,
            int(world.count[kind, scene]),
            colour=sometimes(int(world.colour[kind, scene]), 0.9),
            size=sometimes(int(world.size[kind, scene]), 0.4 if world.count[kind, scene] == 1 else 0.0),
            column=sometimes(int(world.column[kind, scene]), 0.35),
        )
        for kind in world.classes_of(scene)
    )
    # One object alone is found in hundreds of scenes: its caption always names place and weather.
    often = 0.75 if len(things) > 1 else 1.0
    background = sometimes(int(world.background[scene]), often)
    return Claim(things, background, sometimes(int(world.weather[scene]), often))


def write(claim: Claim, dice: np.random.RandomState) -> str:
    """The claim in English, its words chosen among synonyms.

    >>> write(Claim((Thing(kind=2, count=2, colour=0),), background=1), np.random.RandomState(1))
    'two red buses by the sea'
    """

    def choose(words: tuple[str, ...]) -> str:
        return words[dice.randint(len(words))]

    def phrase(thing: Thing) -> str:
        name = choose(_NAMES.get(CLASSES[thing.kind], (CLASSES[thing.kind],)))
        words = [
            choose(_SIZE_WORDS[thing.size]) if thing.size != ABSENT else "",
            COLOURS[thing.colour] if thing.colour != ABSENT else "",
            name if thing.count == 1 else _PLURALS.get(name, name + "s"),
            choose(_COLUMN_WORDS[thing.column]) if thing.column != ABSENT else "",
        ]
        text = " ".join(word for word in words if word)
        if thing.count > 1:
            return f"{choose(_COUNT_WORDS[thing.count])} {text}"
        return f"an {text}" if text[0] in "aeiou" else f"a {text}"

    parts = [" and ".join(phrase(thing) for thing in claim.things)]
    if claim.background != ABSENT:
        parts.append(choose(_PLACE_WORDS[BACKGROUNDS[claim.background]]))
    if claim.weather != ABSENT:
        parts.append(choose(_WEATHER_WORDS[WEATHERS[claim.weather]]))
    return " ".join(parts)


def grades(world: World, claim: Claim) -> Int8[np.ndarray, "scene"]:
    """The relevance of every scene to a claim: 2 if all of it is true, 1 if all but one statement is, else 0.

    A statement is a colour, a size, a count, a column, the background or the weather. Every class that the
    claim names must be there: a scene without it has grade 0.
    """
    wrong = np.zeros(len(world), dtype=np.int8)
    there = np.ones(len(world), dtype=bool)
    for thing in claim.things:
        there &= world.count[thing.kind] != ABSENT
        wrong += world.count[thing.kind] != thing.count
        pairs = ((thing.colour, world.colour), (thing.size, world.size), (thing.column, world.column))
        for said, truth in pairs:
            if said != ABSENT:
                wrong += truth[thing.kind] != said
    for said, truth in ((claim.background, world.background), (claim.weather, world.weather)):
        if said != ABSENT:
            wrong += truth != said
    return np.where(there, np.clip(2 - wrong, 0, 2), 0).astype(np.int8)


def vocabulary() -> frozenset[str]:
    """Every word that a caption can hold."""
    phrases = [*CLASSES, *COLOURS, *SIZES, *COLUMNS, *_PLURALS.values(), "a", "an", "and"]
    phrases += [name + "s" for name in CLASSES]
    tables = (_NAMES, _PLACE_WORDS, _WEATHER_WORDS)
    phrases += [word for table in tables for words in table.values() for word in words]
    phrases += [name + "s" for names in _NAMES.values() for name in names]
    phrases += [word for words in (*_SIZE_WORDS, *_COLUMN_WORDS, *_COUNT_WORDS.values()) for word in words]
    return frozenset(word for phrase in phrases for word in phrase.split())
