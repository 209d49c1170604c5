"""The objects of the scenes, each a few filled shapes in a box whose width is 100 units and whose base is y =
0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import ImageDraw

Colour = tuple[int, int, int]

PAINT: tuple[Colour, ...] = (  # in the order of world.COLOURS
    (214, 36, 40), (246, 132, 24), (250, 214, 40), (40, 158, 62), (38, 84, 214), (142, 60, 182),
    (246, 246, 246), (26, 26, 28),
)  # fmt: skip
FLYING = frozenset({"airplane", "balloon"})

_GLASS = (178, 216, 236)
_DARK = (34, 34, 38)
_METAL = (150, 154, 160)
_WOOD = (116, 78, 46)


@dataclass(frozen=True)
class Brush:
    """Draws in units of a hundredth of the object's width, y upwards from its base."""

    draw: ImageDraw.ImageDraw
    x: int
    base: int
    width: int
    flip: bool = False

    def _at(self, x: float, y: float) -> tuple[int, int]:
        side = 50 - x if self.flip else x - 50
        return self.x + int(side * self.width // 100), self.base - int(y * self.width // 100)

    def box(self, left: float, bottom: float, right: float, top: float, fill: Colour) -> None:
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], fill)

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        self.draw.polygon([self._at(x, y) for x, y in points], fill=fill, outline=_DARK)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        cx, cy = self._at(x, y)
        r = max(1, int(radius * self.width // 100))
        self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill, outline=_DARK)

    def ring(self, x: float, y: float, radius: float) -> None:
        cx, cy = self._at(x, y)
        r = int(radius * self.width // 100)
        self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), outline=_DARK, width=max(2, self.width // 24))

    def line(self, points: list[tuple[float, float]], fill: Colour, thick: float) -> None:
        width = max(2, int(thick * self.width // 100))
        self.draw.line([self._at(x, y) for x, y in points], fill=fill, width=width)

    def wheels(self, *places: float, radius: float = 10) -> None:
        for place in places:
            self.disc(place, radius, radius, _DARK)
            self.disc(place, radius, radius * 0.45, _METAL)


def _car(brush: Brush, paint: Colour) -> None:
    brush.polygon([(0, 10), (100, 10), (98, 26), (78, 30), (64, 46), (30, 46), (18, 30), (2, 26)], paint)
    brush.polygon([(33, 43), (46, 43), (46, 31), (24, 31)], _GLASS)
    brush.polygon([(50, 43), (62, 43), (73, 31), (50, 31)], _GLASS)
    brush.wheels(22, 78, radius=11)


def _truck(brush: Brush, paint: Colour) -> None:
    brush.box(0, 12, 66, 58, paint)
    brush.polygon([(68, 12), (100, 12), (100, 34), (92, 48), (68, 48)], _METAL)
    brush.polygon([(76, 44), (90, 44), (95, 33), (76, 33)], _GLASS)
    brush.wheels(14, 32, 84, radius=10)


def _bus(brush: Brush, paint: Colour) -> None:
    brush.box(0, 10, 100, 52, paint)
    for left in range(5, 90, 16):
        brush.box(left, 30, left + 12, 46, _GLASS)
    brush.wheels(20, 80, radius=9)


def _van(brush: Brush, paint: Colour) -> None:
    brush.polygon([(4, 10), (96, 10), (96, 30), (80, 56), (10, 56), (4, 48)], paint)
    brush.polygon([(62, 52), (78, 52), (90, 32), (62, 32)], _GLASS)
    brush.box(16, 34, 36, 50, _GLASS)
    brush.wheels(24, 76, radius=11)


def _tractor(brush: Brush, paint: Colour) -> None:
    brush.box(40, 22, 96, 42, paint)
    brush.box(20, 34, 48, 72, paint)
    brush.box(25, 48, 43, 67, _GLASS)
    brush.box(80, 42, 85, 60, _DARK)
    brush.wheels(26, radius=24)
    brush.wheels(84, radius=13)


def _bicycle(brush: Brush, paint: Colour) -> None:
    for x in (22, 78):
        brush.ring(x, 20, 20)
    brush.line([(22, 20), (42, 48), (70, 48), (50, 20), (22, 20)], paint, 7)
    brush.line([(42, 48), (50, 20)], paint, 7)
    brush.line([(78, 20), (68, 58), (78, 62)], paint, 7)
    brush.line([(34, 54), (48, 54)], _DARK, 6)


def _motorcycle(brush: Brush, paint: Colour) -> None:
    brush.wheels(20, 80, radius=18)
    brush.polygon([(20, 24), (40, 46), (70, 48), (78, 26), (56, 18), (36, 18)], paint)
    brush.line([(80, 20), (70, 60), (60, 64)], _DARK, 6)
    brush.box(22, 46, 46, 53, _DARK)


def _train(brush: Brush, paint: Colour) -> None:
    brush.box(-10, 8, 40, 44, paint)
    brush.polygon([(44, 8), (112, 8), (112, 20), (98, 44), (44, 44)], paint)
    for left in (-6, 12, 48, 64):
        brush.box(left, 24, left + 12, 38, _GLASS)
    brush.polygon([(84, 38), (98, 38), (106, 25), (84, 25)], _GLASS)
    brush.box(-10, 12, 112, 16, _METAL)
    brush.wheels(2, 28, 56, 96, radius=6)
    brush.line([(-16, 0), (118, 0)], _WOOD, 4)


def _boat(brush: Brush, paint: Colour) -> None:
    brush.polygon([(0, 24), (100, 24), (84, 2), (14, 2)], paint)
    brush.line([(50, 24), (50, 92)], _WOOD, 4)
    brush.polygon([(53, 34), (53, 90), (90, 34)], (248, 246, 236))
    brush.polygon([(47, 34), (47, 82), (18, 34)], (226, 224, 214))


def _airplane(brush: Brush, paint: Colour) -> None:
    brush.polygon([(0, 22), (8, 16), (92, 16), (102, 22), (92, 32), (12, 32)], paint)
    brush.polygon([(0, 30), (14, 30), (6, 52), (-4, 52)], paint)
    brush.polygon([(38, 22), (62, 22), (44, 0), (32, 0)], _METAL)
    for x in range(26, 84, 9):
        brush.disc(x, 26, 2.4, _GLASS)


def _balloon(brush: Brush, paint: Colour) -> None:
    brush.polygon([(30, 32), (70, 32), (56, 12), (44, 12)], _METAL)
    brush.disc(50, 60, 40, paint)
    brush.polygon([(44, 98), (56, 98), (60, 60), (56, 24), (44, 24), (40, 60)], (244, 236, 214))
    brush.box(42, 0, 58, 12, _WOOD)


def _house(brush: Brush, paint: Colour) -> None:
    brush.box(8, 0, 92, 52, paint)
    brush.polygon([(0, 52), (100, 52), (50, 90)], (128, 74, 58))
    brush.box(42, 0, 58, 28, _WOOD)
    brush.box(16, 22, 34, 40, _GLASS)
    brush.box(66, 22, 84, 40, _GLASS)


def _tree(brush: Brush, paint: Colour) -> None:
    brush.box(43, 0, 57, 40, _WOOD)
    for x, y, radius in ((28, 58, 24), (72, 58, 24), (50, 84, 28), (50, 58, 26)):
        brush.disc(x, y, radius, paint)


def _tent(brush: Brush, paint: Colour) -> None:
    brush.polygon([(0, 0), (100, 0), (50, 64)], paint)
    brush.polygon([(36, 0), (64, 0), (50, 36)], _DARK)


OBJECTS: dict[str, Callable[[Brush, Colour], None]] = {
    "car": _car, "truck": _truck, "bus": _bus, "van": _van, "tractor": _tractor, "bicycle": _bicycle,
    "motorcycle": _motorcycle, "train": _train, "boat": _boat, "airplane": _airplane, "balloon": _balloon,
    "house": _house, "tree": _tree, "tent": _tent,
}  # fmt: skip
