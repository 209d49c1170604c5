"""Preprocessing that ends as torchvision's does, in a normalised tensor, with that end done in batches.

Threads resize and crop with Pillow, as the transforms say, and hand over 8 bits a value: a quarter of what
would otherwise be normalised image by image, kept waiting and copied to a GPU. The values are the same.
"""

# ruff: noqa: ANN401  transforms of libraries without types

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from imgbench.encoders import batching
from imgbench.encoders.network import NetworkEncoder

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_SIZES = (97, 61), (300, 200), (33, 150), (900, 700)  # width and height of the images that are compared
_END = 2  # steps: to a tensor, and normalised
_TO_TENSOR = {
    "torchvision.transforms.transforms.ToTensor",
    "open_clip.transform.MaybeToTensor",
    "timm.data.transforms.MaybeToTensor",
}


@dataclass(frozen=True, eq=False)
class Pixels:
    """A list of transforms parted in two: what happens to the image, and how its values are normalised."""

    steps: tuple[Callable[[Image], Image], ...]
    mean: torch.Tensor
    std: torch.Tensor
    _placed: dict[Any, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict[Any, Any])

    @classmethod
    def of(cls, transform: Any) -> Pixels | None:
        """The two parts of `transform`; None if it has no such end, or if together they gave other values.

        >>> from torchvision.transforms import CenterCrop, Compose, Normalize, ToTensor
        >>> Pixels.of(Compose([CenterCrop(8), ToTensor(), Normalize([0.5] * 3, [0.25] * 3)])).steps
        (CenterCrop(size=(8, 8)),)
        >>> Pixels.of(ToTensor()) is None
        True
        """
        import torch
        from torchvision.transforms import Compose, Normalize

        steps: list[Any] = list(getattr(transform, "transforms", ()))
        if type(transform) is not Compose or len(steps) < _END or type(steps[-1]) is not Normalize:
            return None
        if f"{type(steps[-2]).__module__}.{type(steps[-2]).__qualname__}" not in _TO_TENSOR:
            return None
        mean, std = (
            torch.as_tensor(each, dtype=torch.float32).view(-1, 1, 1)
            for each in (steps[-1].mean, steps[-1].std)
        )
        found = cls(tuple(steps[:-2]), mean, std)
        try:
            with torch.random.fork_rng(devices=[]):
                return found if found._agrees(transform) else None
        except Exception:  # noqa: BLE001  anything that a step says to images that are not its own
            return None

    def __call__(self, image: Image) -> torch.Tensor:
        """An RGB image as 8-bit values (channel, height, width)."""
        import torch

        return torch.from_numpy(np.array(self._sized(image))).permute(2, 0, 1)

    def normalised(self, values: torch.Tensor) -> torch.Tensor:
        """8-bit values (image, channel, height, width) as float32, on their device."""
        if values.device not in self._placed:  # moved once: each such copy waits until a GPU has no work left
            self._placed[values.device] = self.mean.to(values.device), self.std.to(values.device)
        mean, std = self._placed[values.device]
        return values.float().div_(255).sub_(mean).div_(std)

    def _sized(self, image: Image) -> Image:
        for step in self.steps:
            image = step(image)
        return image.convert("RGB") if getattr(image, "mode", None) == "L" else image  # a step for grey ones

    def _agrees(self, transform: Callable[[Image], Any]) -> bool:
        from PIL import Image

        rng = np.random.default_rng(0)
        for width, height in _SIZES:
            image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            sized: Any = self._sized(image)
            if not isinstance(sized, Image.Image) or sized.mode != "RGB":
                return False
            ours = self.normalised(self(image)[None])[0]
            theirs = transform(image)
            if ours.shape != theirs.shape or not bool((ours == theirs).all()):
                return False
        return True


class PixelEncoder(NetworkEncoder):
    """A network encoder that is given one tensor of images, prepared by a transform of torchvision's kind."""

    def _see(self, transform: Callable[[Image], torch.Tensor]) -> None:
        """Prepare images by this transform: an RGB PIL image in, (channel, height, width) out."""
        self._preprocess, self._pixels = transform, Pixels.of(transform)

    def _prepare(self, image: Image) -> torch.Tensor:
        return (self._pixels or self._preprocess)(image)

    def _batch(self, images: list[torch.Tensor]) -> torch.Tensor:
        """The prepared images as one tensor on the device, in the network's precision."""
        # What Pillow made has its channels last: so it is copied as it lies, and so a GPU convolves fastest.
        last = self._pixels is not None and self.device.startswith("cuda")
        batch = batching.moved(images, self.device, channels_last=last)
        return (self._pixels.normalised(batch) if self._pixels else batch).to(self._dtype)
