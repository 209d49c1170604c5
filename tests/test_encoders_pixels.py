"""Preprocessing whose end runs in batches gives the very values of the transforms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import transforms

from imgbench.encoders.base import Encoder
from imgbench.encoders.images import decode
from imgbench.encoders.open_clip import OpenClipEncoder
from imgbench.encoders.pixels import Pixels

HALF = [0.5] * 3


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))


def open_clips(**options: object) -> Callable[[Image.Image], torch.Tensor]:
    return image_transform_v2(PreprocessCfg(**options), is_train=False)


def timms() -> Callable[[Image.Image], torch.Tensor]:
    return timm.data.create_transform((3, 64, 64), crop_pct=0.9, interpolation="bicubic")


TRANSFORMS = {
    "CLIP": open_clips(size=224),
    "SigLIP": open_clips(size=64, resize_mode="squash", mean=HALF, std=HALF),
    "longest side": open_clips(size=48, resize_mode="longest"),
    "bilinear": open_clips(size=(96, 64), interpolation="bilinear"),
    "timm": timms(),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_value_is_that_of_the_transforms(name: str) -> None:
    transform = TRANSFORMS[name]
    pixels = Pixels.of(transform)
    assert pixels is not None
    for size in [(160, 160), (500, 375), (31, 200), (224, 224), (1, 1)]:
        image = noise(*size)
        kept = pixels(image)
        assert kept.dtype == torch.uint8
        assert torch.equal(pixels.normalised(kept[None])[0], transform(image))


@pytest.mark.data
def test_real_photographs_too(data: Path) -> None:
    transform = TRANSFORMS["CLIP"]
    pixels = Pixels.of(transform)
    assert pixels is not None
    for path in sorted((data / "flickr8k-160" / "images").glob("*.jpg"))[:200]:
        image = decode(path)
        assert torch.equal(pixels.normalised(pixels(image)[None])[0], transform(image))


class Brighter:
    """Ends as the others do, but its last step but one is not what it looks like."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return transforms.ToTensor()(image) * 0.5


@pytest.mark.parametrize(
    "transform",
    [
        transforms.ToTensor(),
        transforms.Compose([]),
        transforms.Compose([transforms.ToTensor()]),
        transforms.Compose([transforms.Resize(8), Brighter(), transforms.Normalize(HALF, HALF)]),
        transforms.Compose(
            [transforms.ToTensor(), transforms.Grayscale(3), transforms.Normalize(HALF, HALF)]
        ),
        transforms.Compose(
            [transforms.RandomCrop(8), transforms.ToTensor(), transforms.Normalize(HALF, HALF)]
        ),
        lambda image: torch.zeros(3, 4, 4),
    ],
)
def test_other_transforms_are_left_alone(transform: Any) -> None:
    assert Pixels.of(transform) is None


class Shrinking(transforms.Compose):
    """Does more than its list of steps says."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return super().__call__(image.resize((16, 16)) if max(image.size) > 2000 else image)


def broken(image: Image.Image) -> Image.Image:
    raise ValueError(image.size)


@pytest.mark.parametrize(
    "transform",
    [
        Shrinking([transforms.CenterCrop(8), transforms.ToTensor(), transforms.Normalize(HALF, HALF)]),
        transforms.Compose([broken, transforms.ToTensor(), transforms.Normalize(HALF, HALF)]),
        transforms.Compose(
            [transforms.RandomCrop(2000), transforms.ToTensor(), transforms.Normalize(HALF, HALF)]
        ),
    ],
)
def test_what_only_looks_like_it_or_refuses_other_images_is_left_alone(transform: Any) -> None:
    before = torch.get_rng_state()
    assert Pixels.of(transform) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_an_encoder_gives_the_loops_vectors_with_either_kind_of_transform() -> None:
    torch.manual_seed(0)
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 32}
    model = open_clip.model.CLIP(16, vision, text).eval()
    transform = open_clips(size=32)
    images = [noise(40 + 7 * row, 50) for row in range(20)]
    with torch.no_grad():
        loop = model.encode_image(torch.stack([transform(image) for image in images]))
        loop = (loop / loop.norm(dim=1, keepdim=True)).numpy()
    for given in (transform, transform.__call__):  # the second shows no list of steps
        encoder: Encoder = OpenClipEncoder.from_parts(
            model, given, open_clip.get_tokenizer("ViT-B-32"), name="tiny", identity={"weights": "made"}
        )
        assert np.abs(encoder.encode_images(images) - loop).max() < 1e-6


def test_the_numbers_of_the_normalisation_are_moved_to_a_device_once() -> None:
    pixels = Pixels.of(TRANSFORMS["CLIP"])
    assert pixels is not None
    values = torch.empty((2, 3, 8, 8), dtype=torch.uint8, device="meta")
    first, _ = (pixels.normalised(values), pixels.normalised(values))
    assert first.device.type == "meta"
    assert sorted(str(device) for device in pixels._placed) == ["cpu", "meta"]
