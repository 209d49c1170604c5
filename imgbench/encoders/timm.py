"""The timm family, images only: `timm:MODEL[.TAG]`, `timm:MODEL/random` and `timm:MODEL@/file.safetensors`.

The vectors are the features before the classifier, for image-to-image search; `classify` gives the classes'
probabilities where the model has a classifier.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from imgbench.encoders import weights
from imgbench.encoders.families import fetching
from imgbench.encoders.images import Failure
from imgbench.encoders.pixels import PixelEncoder
from imgbench.errors import InputError, unknown
from imgbench.types import ImageInput, Precision

SEED = 0


class TimmEncoder(PixelEncoder):
    """An image model of timm with its own preprocessing."""

    family = "timm"
    batch_sizes: ClassVar = {"cpu": 32, "cuda": 256}
    sides = frozenset({"image"})

    def __init__(
        self,
        model: Any,
        *,
        identity: dict[str, object],
        **placement: Any,
    ) -> None:
        import timm

        config = timm.data.resolve_model_data_config(model)
        self._see(timm.data.create_transform(**config, is_training=False))
        self._hold(model, identity={**identity, "preprocess": config}, **placement)
        self.dim = int(self._images([self._blank(config)]).shape[1])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What each class is called, where timm knows: the ImageNet families."""
        from timm.data import ImageNetInfo, infer_imagenet_subset

        subset = infer_imagenet_subset(self._model)
        if not subset:
            return None
        info = ImageNetInfo(subset)
        return tuple(info.index_to_description(row) for row in range(info.num_classes()))

    def classify(
        self, images: Sequence[ImageInput], *, progress: bool = False
    ) -> Float32[np.ndarray, "image class"]:
        """Probabilities (softmax) of the classes, rows in the order of `images`.

        An unreadable image raises UnreadableImageError; a model without a classifier InputError.
        """
        import torch

        if not self._model.num_classes:
            raise InputError(
                f"{self.name} has no classifier.",
                "A model with classes was expected.",
                "Choose one that was trained on ImageNet, such as 'timm:resnet50.a1_in1k'.",
            )
        parts: list[np.ndarray] = []
        failures: list[tuple[int, Failure]] = []
        for batch in self._batches(images, failures, progress=progress, stop=True):
            with torch.inference_mode():
                logits = self._model(self._batch([item for _, item in batch])).float()
            parts.append(logits.softmax(dim=1).cpu().numpy())
        if failures:
            raise failures[0][1].error()
        return np.concatenate(parts) if parts else np.empty((0, self._model.num_classes), np.float32)

    def _images(self, images: list[Any]) -> Any:
        import torch

        with torch.inference_mode():
            features = self._model.forward_features(self._batch(images))
            return self._model.forward_head(features, pre_logits=True).float()

    def _blank(self, config: dict[str, Any]) -> Any:
        import torch

        return torch.zeros(config["input_size"])


def load(
    model: str,
    *,
    device: str,
    precision: Precision,
    batch_size: int | None = None,
    trust_remote_code: bool = False,  # noqa: ARG001  timm runs none
    revision: str | None = None,
) -> TimmEncoder:
    """The encoder of a timm model: pretrained, with random weights (a warning), or from a local file."""
    if revision is not None:
        raise InputError(f"revision is {revision!r}.", "timm's tags have no revisions.", "Leave it out.")
    name, at, file = model.partition("@")
    name, slash, kind = name.partition("/")
    _check_name(name)
    if at:
        network, identity = _from_file(name, Path(file).expanduser())
    elif slash:
        if kind != "random":
            raise unknown(
                "a kind of weights", kind, ["random"], otherwise=f"Write timm:{name} for the default."
            )
        network, identity = _random(name)
    else:
        network, identity = _pretrained(name)
    return TimmEncoder(
        network,
        name=f"timm:{model}",
        identity=identity,
        device=device,
        precision=precision,
        batch_size=batch_size,
    )


def _check_name(name: str) -> None:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown("a timm model", architecture, timm.list_models())
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise unknown(f"a tag of {architecture}", tag, tags)


def _pretrained(name: str) -> tuple[Any, dict[str, object]]:
    import timm

    with fetching(f"timm:{name}"):
        network = timm.create_model(name, pretrained=True)
    return network, {"model": name, "weights": "sha256:" + weights.state_hash(network)}


def _random(name: str) -> tuple[Any, dict[str, object]]:
    import timm
    import torch

    warnings.warn(
        f"timm:{name}/random has random weights: measure speed with it, never quality.",
        UserWarning,
        stacklevel=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = timm.create_model(name, pretrained=False)
    return network, {"model": name, "weights": "sha256:" + weights.state_hash(network)}


def _from_file(name: str, file: Path) -> tuple[Any, dict[str, object]]:
    import timm
    from timm.models import load_state_dict

    if not file.is_file():
        raise InputError(
            f"There is no file {file}.", "A .safetensors or .pt checkpoint was expected.", "Check the path."
        )
    with fetching(f"timm:{name}@{file}"):
        state = load_state_dict(str(file), weights_only=True)
        blank: Any = timm.create_model(name, pretrained=False)
        classifier = blank.pretrained_cfg.get("classifier")
        head = state.get(f"{classifier}.weight")
        # A checkpoint says how many classes it has: none if its classifier was cut off.
        network = timm.create_model(name, pretrained=False, num_classes=0 if head is None else head.shape[0])
        network.load_state_dict(state, strict=True)
    return network, {"model": name, "weights": "sha256:" + weights.file_hash(file)}
