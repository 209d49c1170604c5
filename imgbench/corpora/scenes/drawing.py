"""Scenes as pictures of 160 x 160 pixels: drawn at twice the size in whole numbers, then halved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from imgbench.corpora.scenes import objects
from imgbench.corpora.scenes.world import BACKGROUNDS, CLASSES, WEATHERS, World

PIXELS = 160
_FINE = 2 * PIXELS
_HORIZON = 190
_NIGHT = WEATHERS.index("night")

_HEIGHTS = {"airplane": (70, 110), "balloon": (70, 110), "boat": (200, 224)}
"""Of the base, from the top; everything else stands on the ground."""

Colour = tuple[int, int, int]

SKIES: dict[str, tuple[Colour, Colour]] = {  # top and horizon
    "sunny": ((86, 156, 230), (190, 222, 246)),
    "cloudy": ((140, 152, 166), (204, 210, 216)),
    "rainy": ((84, 94, 110), (140, 148, 158)),
    "snowy": ((168, 178, 192), (222, 226, 232)),
    "foggy": ((186, 190, 194), (208, 210, 212)),
    "night": ((10, 14, 40), (44, 48, 88)),
}
GROUNDS: dict[str, tuple[Colour, Colour]] = {  # far and near
    "city": ((112, 112, 116), (78, 78, 84)),
    "beach": ((238, 216, 166), (218, 190, 130)),
    "desert": ((226, 172, 104), (200, 140, 72)),
    "forest": ((74, 110, 58), (52, 82, 40)),
    "mountains": ((132, 138, 112), (104, 110, 84)),
    "meadow": ((128, 184, 82), (92, 150, 56)),
    "harbour": ((170, 160, 150), (140, 130, 122)),
}


@dataclass(frozen=True)
class Canvas:
    """A picture in the making and the dice of its scene."""

    draw: ImageDraw.ImageDraw
    dice: np.random.RandomState  # frozen stream: numpy promises that it never changes


def draw_scene(world: World, scene: int, *, seed: int) -> Image.Image:
    """One scene as an RGB image of 160 x 160 pixels.

    >>> from imgbench.corpora.scenes.world import draw_world
    >>> draw_scene(draw_world(3, seed=0), 2, seed=0).size
    (160, 160)
    """
    background, weather = BACKGROUNDS[world.background[scene]], WEATHERS[world.weather[scene]]
    dice = _dice(seed, scene)
    picture = _backdrop(background, weather)
    canvas = Canvas(ImageDraw.Draw(picture), dice)
    _SKY_SIGNS[weather](canvas)
    _LANDSCAPES[background](canvas)
    for kind in sorted(world.classes_of(scene), key=lambda kind: _distance(kind, world, scene)):
        _draw_group(canvas, world, scene, kind)
    return _camera(_through_air(picture, weather, dice).reduce(2), dice)


def _dice(seed: int, scene: int) -> np.random.RandomState:
    digest = hashlib.blake2b(f"{seed}/{scene}".encode(), digest_size=16).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype=np.uint32))


def _backdrop(background: str, weather: str) -> Image.Image:
    sky, ground = SKIES[weather], GROUNDS[background]
    rows = np.concatenate([_ramp(*sky, _HORIZON), _ramp(*ground, _FINE - _HORIZON)])
    return Image.fromarray(np.repeat(rows[:, None, :], _FINE, axis=1))


def _ramp(start: Colour, end: Colour, rows: int) -> np.ndarray:
    at = np.arange(rows)[:, None]
    first, last = np.array(start), np.array(end)
    return ((first * (rows - 1 - at) + last * at) // (rows - 1)).astype(np.uint8)


def _distance(kind: int, world: World, scene: int) -> int:
    # Flying things first, small ones behind large ones.
    return 2 * (CLASSES[kind] not in objects.FLYING) + int(world.size[kind, scene])


def _draw_group(canvas: Canvas, world: World, scene: int, kind: int) -> None:
    name = CLASSES[kind]
    count, large = int(world.count[kind, scene]), bool(world.size[kind, scene])
    width = (104 if large else 58 if count == 1 else 50) + int(canvas.dice.randint(-5, 6))
    centre = 58 + 102 * int(world.column[kind, scene]) + int(canvas.dice.randint(-8, 9))
    base = int(canvas.dice.randint(*_HEIGHTS.get(name, (236, 296))))
    flip = bool(canvas.dice.randint(2))
    for number in range(count):
        x = centre + (2 * number - count + 1) * 22
        y = base + (number - 1) * 30 if count > 1 else base
        brush = objects.Brush(canvas.draw, x, min(y, 306), width, flip=flip)
        objects.OBJECTS[name](brush, objects.PAINT[int(world.colour[kind, scene])])


def _sunny(canvas: Canvas) -> None:
    x = int(canvas.dice.randint(30, _FINE - 30))
    canvas.draw.ellipse((x - 18, 14, x + 18, 50), fill=(255, 224, 90))


def _cloudy(canvas: Canvas) -> None:
    for _ in range(4):
        x, y = int(canvas.dice.randint(0, _FINE)), int(canvas.dice.randint(14, 80))
        for shift, radius in ((-26, 14), (0, 22), (26, 16)):
            canvas.draw.ellipse(
                (x + shift - radius, y - radius, x + shift + radius, y + radius), fill=(236, 238, 240)
            )


def _night(canvas: Canvas) -> None:
    for _ in range(28):
        x, y = int(canvas.dice.randint(0, _FINE)), int(canvas.dice.randint(0, 150))
        canvas.draw.rectangle((x, y, x + 1, y + 1), fill=(240, 240, 220))
    x = int(canvas.dice.randint(30, _FINE - 30))
    canvas.draw.ellipse((x - 14, 16, x + 14, 44), fill=(236, 234, 208))
    canvas.draw.ellipse((x - 6, 12, x + 20, 38), fill=(16, 20, 48))


def _nothing(canvas: Canvas) -> None:
    """Rain, snow and fog are in the air before everything, not in the sky."""


def _city(canvas: Canvas) -> None:
    x = -int(canvas.dice.randint(0, 30))
    while x < _FINE:
        width, top = int(canvas.dice.randint(34, 62)), int(canvas.dice.randint(70, 140))
        grey = int(canvas.dice.randint(96, 150))
        canvas.draw.rectangle((x, top, x + width, _HORIZON), fill=(grey, grey - 6, grey - 2))
        for wy in range(top + 8, _HORIZON - 10, 18):
            for wx in range(x + 6, x + width - 8, 14):
                canvas.draw.rectangle(
                    (wx, wy, wx + 6, wy + 8), fill=(222, 214, 150) if (wx + wy) % 3 else (70, 76, 90)
                )
        x += width + 3
    for x in range(-10, _FINE, 60):
        canvas.draw.rectangle((x, 258, x + 30, 263), fill=(226, 222, 190))


def _beach(canvas: Canvas) -> None:
    canvas.draw.rectangle((0, _HORIZON - 34, _FINE, _HORIZON), fill=(44, 132, 186))
    for y in (_HORIZON - 24, _HORIZON - 10):
        for x in range(int(canvas.dice.randint(0, 40)), _FINE, 64):
            canvas.draw.line((x, y, x + 26, y), fill=(150, 204, 228), width=3)
    canvas.draw.rectangle((0, _HORIZON - 2, _FINE, _HORIZON + 4), fill=(244, 244, 238))


def _desert(canvas: Canvas) -> None:
    for colour, low in (((214, 158, 92), 34), ((206, 146, 80), 18)):
        x = int(canvas.dice.randint(-80, 160))
        canvas.draw.ellipse((x, _HORIZON - low, x + 260, _HORIZON + 60), fill=colour)
    x = int(canvas.dice.randint(10, _FINE - 20))
    canvas.draw.rectangle((x, 160, x + 8, 204), fill=(66, 120, 62))
    canvas.draw.rectangle((x - 10, 174, x + 18, 180), fill=(66, 120, 62))


def _forest(canvas: Canvas) -> None:
    for x in range(-10, _FINE + 20, 22):
        top = int(canvas.dice.randint(84, 140))
        green = int(canvas.dice.randint(60, 92))
        canvas.draw.polygon([(x - 20, _HORIZON + 4), (x + 20, _HORIZON + 4), (x, top)], fill=(28, green, 36))


def _mountains(canvas: Canvas) -> None:
    for _ in range(4):
        x, top = int(canvas.dice.randint(0, _FINE)), int(canvas.dice.randint(56, 116))
        half = _HORIZON - top
        canvas.draw.polygon([(x - half, _HORIZON), (x + half, _HORIZON), (x, top)], fill=(104, 106, 124))
        canvas.draw.polygon(
            [(x - half // 4, top + half // 4), (x + half // 4, top + half // 4), (x, top)],
            fill=(240, 242, 248),
        )


def _meadow(canvas: Canvas) -> None:
    canvas.draw.ellipse((-60, _HORIZON - 26, 220, _HORIZON + 70), fill=(120, 176, 76))
    for _ in range(22):
        x, y = int(canvas.dice.randint(0, _FINE)), int(canvas.dice.randint(_HORIZON + 14, _FINE))
        canvas.draw.ellipse(
            (x, y, x + 5, y + 5), fill=((250, 246, 250), (246, 220, 90))[int(canvas.dice.randint(2))]
        )


def _harbour(canvas: Canvas) -> None:
    canvas.draw.rectangle((0, _HORIZON - 14, _FINE, _HORIZON + 30), fill=(48, 104, 144))
    for y in (_HORIZON, _HORIZON + 16):
        for x in range(int(canvas.dice.randint(0, 50)), _FINE, 70):
            canvas.draw.line((x, y, x + 30, y), fill=(120, 170, 200), width=3)
    canvas.draw.rectangle((0, _HORIZON + 30, _FINE, _HORIZON + 38), fill=(92, 84, 76))
    x = int(canvas.dice.randint(20, _FINE - 60))
    canvas.draw.rectangle((x, 96, x + 8, _HORIZON - 14), fill=(206, 160, 60))
    canvas.draw.rectangle((x - 30, 96, x + 56, 104), fill=(206, 160, 60))


def _through_air(picture: Image.Image, weather: str, dice: np.random.RandomState) -> Image.Image:
    """Rain, snow, fog and darkness."""
    if weather == "rainy":
        _streaks(picture, dice, count=90, length=16, colour=(196, 208, 224))
    if weather == "snowy":
        _flakes(picture, dice)
    if weather == "foggy":
        picture = Image.blend(picture, Image.new("RGB", picture.size, (206, 208, 210)), 0.42)
    if weather == "night":
        picture = Image.blend(picture, Image.new("RGB", picture.size, (6, 8, 34)), 0.38)
    return picture


def _camera(picture: Image.Image, dice: np.random.RandomState) -> Image.Image:
    """The same picture with another exposure and the grain of a sensor."""
    light = int(dice.randint(232, 281))  # of 256
    exposed = picture.point([min(255, level * light >> 8) for level in range(256)] * 3)
    grain = dice.randint(-9, 10, size=(PIXELS, PIXELS, 1), dtype=np.int16)
    return Image.fromarray(np.clip(np.asarray(exposed, dtype=np.int16) + grain, 0, 255).astype(np.uint8))


def _streaks(
    picture: Image.Image, dice: np.random.RandomState, *, count: int, length: int, colour: Colour
) -> None:
    draw = ImageDraw.Draw(picture)
    for x, y in dice.randint(0, _FINE, size=(count, 2)).tolist():
        draw.line((x, y, x - length // 3, y + length), fill=colour, width=2)


def _flakes(picture: Image.Image, dice: np.random.RandomState) -> None:
    draw = ImageDraw.Draw(picture)
    for x, y in dice.randint(0, _FINE, size=(90, 2)).tolist():
        draw.ellipse((x, y, x + 5, y + 5), fill=(250, 250, 252))


_SKY_SIGNS: dict[str, Callable[[Canvas], None]] = {
    "sunny": _sunny, "cloudy": _cloudy, "rainy": _nothing, "snowy": _nothing, "foggy": _nothing,
    "night": _night,
}  # fmt: skip
_LANDSCAPES: dict[str, Callable[[Canvas], None]] = {
    "city": _city, "beach": _beach, "desert": _desert, "forest": _forest, "mountains": _mountains,
    "meadow": _meadow, "harbour": _harbour,
}  # fmt: skip
