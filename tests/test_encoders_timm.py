"""The timm family: image vectors and classes as timm gives them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from imgbench.encoders.base import Encoder
from imgbench.encoders.timm import TimmEncoder
from imgbench.errors import InputError, UnreadableImageError

MODEL = "test_vit"  # timm's own tiny model for tests


@pytest.fixture
def photos() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 40, 3), np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def checkpoint(folder: Path, classes: int = 1000, model: str = MODEL) -> tuple[str, torch.nn.Module]:
    torch.manual_seed(0)
    network = timm.create_model(model, pretrained=False, num_classes=classes).eval()
    save_file(network.state_dict(), folder / "weights.safetensors")
    return f"timm:{model}@{folder / 'weights.safetensors'}", network


def pixels(network: torch.nn.Module, photos: list[Image.Image]) -> torch.Tensor:
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    return torch.stack([transform(photo) for photo in photos])


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "test_efficientnet", "test_mambaout"])
def test_vectors_are_timms_features_without_a_classifier(
    model: str, tmp_path: Path, photos: list[Image.Image]
) -> None:
    spec, network = checkpoint(tmp_path, model=model)
    encoder = Encoder.load(spec, device="cpu")
    network.reset_classifier(0)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(network(pixels(network, photos)), dim=-1).numpy()
    assert encoder.dim == expected.shape[1]
    np.testing.assert_allclose(encoder.encode_images(photos), expected, atol=1e-5)


def test_classify_gives_probabilities_and_names(tmp_path: Path, photos: list[Image.Image]) -> None:
    spec, network = checkpoint(tmp_path)
    encoder = Encoder.load(spec, device="cpu", batch_size=2)
    assert isinstance(encoder, TimmEncoder)
    with torch.inference_mode():
        expected = network(pixels(network, photos)).softmax(-1).numpy()
    probabilities = encoder.classify(photos)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    names = encoder.class_names
    assert names is not None
    assert (len(names), names[779]) == (1000, "school bus")
    with pytest.raises(UnreadableImageError, match="Image 1 cannot be read"):
        encoder.classify([photos[0], b"nothing"])


def test_the_checkpoint_decides_the_number_of_classes(tmp_path: Path, photos: list[Image.Image]) -> None:
    seven = Encoder.load(checkpoint(tmp_path, classes=7)[0], device="cpu")
    assert isinstance(seven, TimmEncoder)
    assert seven.classify(photos).shape == (3, 7)
    assert seven.class_names is None
    none = Encoder.load(checkpoint(tmp_path, classes=0)[0], device="cpu")
    assert isinstance(none, TimmEncoder)
    with pytest.raises(InputError, match="has no classifier"):
        none.classify(photos)


def test_images_only(tmp_path: Path) -> None:
    encoder = Encoder.load(checkpoint(tmp_path)[0], device="cpu")
    assert encoder.sides == {"image"}
    with pytest.raises(InputError, match=r"encodes images only\. An encoder with a text side was expected"):
        encoder.encode_texts(["a car"])


def test_random_weights_are_seeded_and_warn(photos: list[Image.Image]) -> None:
    with pytest.warns(UserWarning, match="random weights: measure speed with it, never quality"):
        first = Encoder.load(f"timm:{MODEL}/random", device="cpu")
    with pytest.warns(UserWarning, match="random weights"):
        second = Encoder.load(f"timm:{MODEL}/random", device="cpu")
    np.testing.assert_array_equal(first.encode_images(photos), second.encode_images(photos))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet_50", "Did you mean 'resnet50'?"),
        ("resnet50.nothing", "'nothing' is not a tag of resnet50."),
        ("resnet50/randon", "'randon' is not a kind of weights. Known: random. Did you mean 'random'?"),
        ("resnet50@/no/file.safetensors", "There is no file /no/file.safetensors."),
    ],
)
def test_wrong_names(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Encoder.load(f"timm:{spec}", device="cpu")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    with pytest.raises(InputError, match="could not be loaded"):
        Encoder.load(f"timm:test_resnet@{tmp_path / 'weights.safetensors'}", device="cpu")


def test_a_hub_that_does_not_answer_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"timm:resnet18 could not be loaded.*Connect to the network"):
        Encoder.load("timm:resnet18", device="cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_fp16_on_cuda_is_close_to_fp32(tmp_path: Path, photos: list[Image.Image]) -> None:
    spec, _ = checkpoint(tmp_path)
    half, full = Encoder.load(spec), Encoder.load(spec, device="cpu")
    assert half.precision == "fp16"
    np.testing.assert_allclose(half.encode_images(photos), full.encode_images(photos), atol=0.02)
