"""Decoding: every kind of image becomes RGB, damage and bombs have a name, threads keep the order."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgbench.encoders.images import Failure, decode, prepared
from imgbench.errors import InputError, UnreadableImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
RGB = Image.fromarray(PIXELS)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def same(image: Image.Image, expected: Image.Image) -> bool:
    return image.mode == "RGB" and np.array_equal(np.asarray(image), np.asarray(expected))


def test_paths_bytes_and_pil_images_are_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    RGB.save(path)
    for image in (path, str(path), path.read_bytes(), RGB, Image.open(path)):
        assert same(decode(image), RGB)


@pytest.mark.parametrize("kind", ["png", "webp", "bmp", "tiff"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    assert same(decode(encoded(RGB, kind, **({"lossless": True} if kind == "webp" else {}))), RGB)


def test_palette_alpha_grey_and_cmyk_become_rgb() -> None:
    palette = RGB.quantize(16)
    assert same(decode(encoded(palette, "png")), palette.convert("RGB"))
    grey = RGB.convert("L")
    assert same(decode(encoded(grey, "png")), Image.merge("RGB", (grey, grey, grey)))
    alpha = RGB.copy()
    alpha.putalpha(7)
    assert same(decode(encoded(alpha, "png")), RGB)
    cmyk = encoded(RGB.convert("CMYK"), "jpeg", quality=100, subsampling=0)
    assert np.abs(np.asarray(decode(cmyk), int) - PIXELS).max() < 40
    assert decode(encoded(RGB.convert("1"), "png")).mode == "RGB"


def test_a_palette_with_transparency_in_bytes_does_not_warn() -> None:
    palette = RGB.quantize(4)
    data = encoded(palette, "png", transparency=bytes([0, 128, 255, 255]))
    assert same(decode(data), palette.convert("RGB"))


def test_sixteen_bit_grey_keeps_its_upper_bits() -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    red = np.asarray(decode(encoded(Image.fromarray(values), "png")))[0, :, 0]
    assert red.tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("kind", ["gif", "webp", "tiff"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(decode(data), int) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "tiff", "bmp"])
def test_a_truncated_file_is_an_error_with_its_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(encoded(RGB, kind)[:-200])
    with pytest.raises(UnreadableImageError) as caught:
        decode(path)
    assert caught.value.came.startswith(f"{path} cannot be read: ")
    assert str(tmp_path) not in caught.value.came.partition("cannot be read")[2]


def test_damaged_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    for kind in ("png", "jpeg", "gif", "webp", "tiff", "bmp", "ppm", "tga", "ico"):
        whole = bytearray(encoded(RGB, kind))
        for _ in range(30):
            broken = whole.copy()
            for place in rng.integers(0, len(broken), 8):
                broken[place] = rng.integers(0, 256)
            with contextlib.suppress(UnreadableImageError):
                assert decode(bytes(broken)).mode == "RGB"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Path("/no/such.jpg"), "/no/such.jpg cannot be read: there is no such file."),
        (b"hello", "An image of 5 bytes cannot be read: no image format that Pillow knows."),
        (b"", "An image of 0 bytes cannot be read: no image format that Pillow knows."),
        ("/", "/ cannot be read: is a directory."),
    ],
)
def test_what_is_no_image(image: bytes | Path, message: str) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(image)
    assert str(caught.value) == (
        f"{message} A complete image in a format that Pillow reads was expected. "
        "Repair, replace or remove it."
    )


def test_something_else_than_an_image_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(InputError, match="An image came as ndarray") as caught:
        decode(PIXELS)  # type: ignore[arg-type]
    assert not isinstance(caught.value, UnreadableImageError)


def test_decompression_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 24 * 20 - 1
    )  # Pillow warns from here, and fails at the double
    data = encoded(RGB, "png")
    for bomb in (data, RGB):
        with pytest.raises(UnreadableImageError, match=r"exceeds|more than the 479"):
            decode(bomb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert same(decode(data), RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 20)
    assert same(decode(data), RGB)


def test_a_bomb_is_an_error_without_warnings_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 20 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableImageError, match="24 pixels are more than the 479 that Pillow allows"):
            decode(encoded(RGB, "png"))


def test_an_elongated_image_cannot_fill_the_memory() -> None:
    assert decode(Image.new("RGB", (1000, 1))).size == (1000, 1)
    with pytest.raises(UnreadableImageError, match="1001 x 1 pixels are too elongated"):
        decode(encoded(Image.new("RGB", (1001, 1)), "png"))


def test_prepared_keeps_the_order_and_marks_failures() -> None:
    images = [Image.new("RGB", (1, 1), (row, 0, 0)) if row != 5 else b"broken" for row in range(40)]

    def slowly(image: Image.Image) -> int:
        red = image.getpixel((0, 0))[0]
        time.sleep(0.002 if red % 3 else 0.01)
        return red

    found = list(prepared(images, slowly, ahead=8, workers=4))
    assert found[5] == Failure("Image 5", "no image format that Pillow knows")
    assert [item for item in found if not isinstance(item, Failure)] == [row for row in range(40) if row != 5]


def test_decoding_stays_within_its_window() -> None:
    started: list[int] = []

    class Counting(list[Image.Image]):
        def __getitem__(self, row):
            started.append(row)
            return RGB

    source = prepared(Counting([RGB] * 50), lambda image: image, ahead=6, workers=2)
    for taken in range(1, 11):
        next(source)
        time.sleep(0.01)
        assert len(started) <= 6 + taken
    source.close()
    assert len(started) <= 16
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("imgbench-decode")]


def test_one_lazy_image_many_times_is_read_once(tmp_path: Path) -> None:
    RGB.resize((400, 400)).save(tmp_path / "a.png")
    lazy = Image.open(tmp_path / "a.png")
    found = list(prepared([lazy] * 32, np.asarray, ahead=32, workers=8))
    assert all(np.array_equal(item, found[0]) for item in found)
    assert not any(isinstance(item, Failure) for item in found)


def test_the_callers_image_stays_as_it_was() -> None:
    mine = RGB.copy()
    decode(mine).paste("black", (0, 0, 20, 24))
    assert same(mine, RGB)


@pytest.mark.data
def test_every_photo_of_flickr8k_decodes_even_the_damaged_one(data: Path) -> None:
    folder = data / "flickr8k-160" / "images"
    photos = [folder / "1798209205_77dbf525b0.jpg", *sorted(folder.glob("*.jpg"))[:50]]
    assert list(prepared(photos, lambda image: (image.mode, image.size), ahead=8, workers=2)) == [
        ("RGB", (160, 160))
    ] * len(photos)


def test_unless_steady_the_next_are_begun_when_the_last_was_taken() -> None:
    begun: list[int] = []
    images = [Image.new("RGB", (1, 1), (row, 0, 0)) for row in range(7)]

    def prepare(image: Image.Image) -> int:
        begun.append(image.getpixel((0, 0))[0])
        return begun[-1]

    with contextlib.closing(prepared(images, prepare, ahead=3, workers=2, steady=False)) as items:
        for row, item in enumerate(items):
            assert item == row
            assert sorted(begun)[: row + 1] == list(range(row + 1))
            assert len(begun) <= min(7, 3 * (row // 3 + 1))
    assert sorted(begun) == list(range(7))
