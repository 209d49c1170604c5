"""The contract of every encoder, and how a specification becomes one."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imgbench as ib
from imgbench.encoders import families
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError, UnreadableImageError


class Mine(ib.Encoder):
    name = "mine"
    dim = 3

    def _images(self, images: list[Image.Image]) -> np.ndarray:
        return np.array([image.getpixel((0, 0)) for image in images]) + 1.0

    def _texts(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[len(text), 1, 0] for text in texts], dtype=torch.bfloat16)


def picture(*color: int) -> Image.Image:
    return Image.new("RGB", (2, 2), color)


def unit(rows: Any) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def returning(rows: Any, **attributes: Any) -> Encoder:
    kind = type("Fixed", (Mine,), {"_texts": lambda self, texts: rows, **attributes})
    return kind()


def test_two_hooks_make_an_encoder() -> None:
    encoder = Mine()
    images = encoder.encode_images([picture(0, 1, 2), picture(9, 0, 0)])
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, unit([[1, 2, 3], [10, 1, 1]]), rtol=1e-6)
    texts = encoder.encode_texts(["abc", "a"])
    assert texts.dtype == np.float32
    np.testing.assert_allclose(texts, unit([[3, 1, 0], [1, 1, 0]]), rtol=1e-6)
    assert (encoder.precision, encoder.device, encoder.sides) == ("fp32", "cpu", {"image", "text"})
    assert Encoder.load(encoder) is encoder


def test_no_inputs_give_no_rows() -> None:
    assert Mine().encode_images([]).shape == Mine().encode_texts([]).shape == (0, 3)
    assert Mine().encode_readable([])[0].shape == (0, 3)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_batches_keep_order_and_values(batch_size: int) -> None:
    encoder = Encoder.load(Mine(), batch_size=batch_size)
    colors = np.random.default_rng(0).integers(0, 256, (23, 3))
    images = encoder.encode_images([picture(*map(int, color)) for color in colors])
    np.testing.assert_allclose(images, unit(colors + 1.0), rtol=1e-6)
    texts = ["x" * (1 + row % 5) for row in range(23)]
    np.testing.assert_array_equal(encoder.encode_texts(texts), Mine().encode_texts(texts))


@pytest.mark.parametrize("option", [{"device": "cuda"}, {"precision": "bf16"}, {"revision": "abc"}])
def test_what_a_loaded_encoder_cannot_change_is_not_ignored(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(InputError) as caught:
        Encoder.load(Mine(), **option)
    assert str(caught.value) == (
        f"{name}={value!r} came with the encoder mine, which is loaded already. Only dim and batch_size can "
        f"still change. Load it by its name with {name}={value!r}."
    )
    assert Encoder.load(Mine(), device="cpu", precision="fp32").dim == 3


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    picture(1, 2, 3).resize((64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableImageError, match=re.escape(str(path))):
        Mine().encode_images([picture(0, 0, 0), path])


def test_encode_readable_tells_which_were_left_out(tmp_path: Path) -> None:
    encoder = Encoder.load(Mine(), batch_size=2)
    images = [b"broken", picture(1, 1, 0), tmp_path / "none.png", picture(0, 0, 7), picture(0, 3, 0), b""]
    vectors, positions, failures = encoder.encode_readable(images)
    assert positions == [1, 3, 4]
    assert failures == [
        (0, "no image format that Pillow knows"),
        (2, "there is no such file"),
        (5, "no image format that Pillow knows"),
    ]
    np.testing.assert_allclose(vectors, unit([[2, 2, 1], [1, 1, 8], [1, 4, 1]]), rtol=1e-6)


def test_an_error_of_the_hook_is_not_an_unreadable_image() -> None:
    class Broken(Mine):
        def _prepare(self, image: Image.Image) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Broken().encode_readable([picture(0, 0, 0)])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", ""], "Text 1 is empty. Every text needs a word. Remove it or write what it should find."),
        ([" \n"], "Text 0 is empty."),
        ([7], "Text 0 is a int."),
        ("a cat", "A single str came as `texts`. A list was expected. Put it into [ ]."),
    ],
)
def test_texts_are_checked(texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Mine().encode_texts(texts)


@pytest.mark.parametrize("images", ["a.jpg", b"bytes", Path("a.jpg")])
def test_a_single_image_is_a_mistake(images: Any) -> None:
    with pytest.raises(InputError, match=r"A single \w+ came as `images`"):
        Mine().encode_images(images)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((1, 4)), "mine returned an array of shape (1, 4) for 1 inputs. (1, 3) was expected."),
        (np.ones(3), "shape (3,) for 1 inputs"),
        ([[0.0, 0.0, 0.0]], "mine returned a zero vector in fp32."),
        ([[np.nan, 0.0, 1.0]], "mine returned NaN or infinite values in fp32."),
        ([[1e300, 0.0, 1.0]], "mine returned NaN or infinite values in fp32."),
        ([[np.inf, 0.0, 1.0]], "Try precision='fp32' or 'bf16'"),
    ],
)
def test_what_a_hook_returns_is_checked(rows: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        returning(rows).encode_texts(["a"])


def test_large_values_do_not_overflow_on_the_way_to_unit_norm() -> None:
    np.testing.assert_allclose(returning([[3e30, 4e30, 0]]).encode_texts(["a"]), [[0.6, 0.8, 0]], rtol=1e-6)


def test_truncation_cuts_first_and_normalises_then() -> None:
    encoder = returning([[3.0, 4.0, 12.0]])
    cut = Encoder.load(encoder, dim=2)
    assert (cut.dim, cut.name, encoder.dim, encoder.name) == (2, "mine?dim=2", 3, "mine")
    np.testing.assert_allclose(cut.encode_texts(["a"]), [[0.6, 0.8]], rtol=1e-6)
    assert cut.fingerprint != encoder.fingerprint
    back = cut.truncated(3)
    np.testing.assert_allclose(back.encode_texts(["a"]), encoder.encode_texts(["a"]))
    assert back.name == "mine?dim=3"
    for dim in (0, 4, -1):
        with pytest.raises(InputError, match=f"dim is {dim}. mine has 3 dimensions. Choose 1 to 3"):
            encoder.truncated(dim)


def test_identity_of_an_own_encoder_follows_its_source_and_its_weights() -> None:
    class Weighted(Mine):
        def __init__(self, table: np.ndarray, path: str = "a.npz") -> None:
            self.table, self.path, self._calls = table, path, 0

    first = Weighted(np.zeros(3))
    before = first.fingerprint
    first._calls += 1
    assert first.fingerprint == before == Weighted(np.zeros(3)).fingerprint
    assert len({before, Weighted(np.ones(3)).fingerprint, Weighted(np.zeros(3), "b.npz").fingerprint}) == 3
    assert Mine().identity()["source"] != returning([[1, 2, 3]]).identity()["source"]
    torch.manual_seed(0)
    first.model = torch.nn.Linear(2, 2)
    with_model = first.fingerprint
    first.model.weight.data += 1
    assert len({before, with_model, first.fingerprint}) == 3


@pytest.mark.parametrize(
    "value",
    [1, 2.5, True, np.float32(2.5), (1, 2), (1, 2.0), {"a": 1}, {"a": 2}, [np.zeros(2)], torch.zeros(2)],
    ids=repr,
)
def test_a_setting_of_any_plain_kind_changes_the_key(value: object) -> None:
    plain, other, same = Mine(), Mine(), Mine()
    other.setting = same.setting = value  # type: ignore[attr-defined]
    plain.setting = 3  # type: ignore[attr-defined]
    assert other.fingerprint == same.fingerprint != plain.fingerprint
    assert Encoder.load(other, batch_size=7).fingerprint == other.fingerprint


def test_a_change_in_a_class_between_encoder_and_ones_own_changes_the_key() -> None:
    class Parent(Mine):
        size = 1

    class Child(Parent):
        pass

    before = Child().identity()["source"]
    Child.__bases__ = (Mine,)
    assert Child().identity()["source"] != before


def test_an_identity_of_ones_own_is_the_key_and_truncation_still_counts() -> None:
    kind = type("Versioned", (Mine,), {"identity": lambda self: {"version": self.version}, "version": 1})
    first, second = kind(), kind()
    second.version = 2
    assert first.fingerprint == kind().fingerprint
    assert len({first.fingerprint, second.fingerprint, first.truncated(2).fingerprint}) == 3


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        Encoder.load(Mine(), batch_size=0)
    encoder = Mine()
    encoder.batch_size = 0
    with pytest.raises(InputError, match="batch_size is 0"):
        encoder.encode_texts(["a"])


def test_the_bar_goes_to_standard_error_and_only_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Mine().encode_texts(["a"])
    assert capsys.readouterr() == ("", "")
    Mine().encode_images([picture(0, 0, 0), b"broken"][:1], progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "mine: images: 100%" in err
    Mine().encode_readable([picture(0, 0, 0), b"broken"], progress=True)
    assert "2/2" in capsys.readouterr().err


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A family `mine` whose loader notes what it was asked for."""
    noted: dict[str, Any] = {}

    def load(model: str, **options: Any) -> Encoder:
        noted.update(options, model=model)
        return Mine()

    module = type(sys)("imgbench_test_family")
    module.load = load
    monkeypatch.setitem(sys.modules, "imgbench_test_family", module)
    monkeypatch.setitem(families.FAMILIES, "mine", "imgbench_test_family:load")
    return noted


def test_a_specification_carries_its_options(asked: dict[str, Any]) -> None:
    encoder = Encoder.load("mine:a/b?dim=2&precision=bf16&batch_size=5", device="cpu", trust_remote_code=True)
    assert asked == {
        "model": "a/b",
        "device": "cpu",
        "precision": "bf16",
        "batch_size": 5,
        "trust_remote_code": True,
        "revision": None,
    }
    assert (encoder.dim, encoder.batch_size) == (2, 5)
    assert encoder.name == "mine:a/b?precision=bf16&batch_size=5&dim=2"
    assert Encoder.load("mine:a/b?dim=2", device="cpu", dim=1).name == "mine:a/b?dim=1"
    assert Encoder.load("mine:what?", device="cpu").name == "mine:what?"


def test_the_default_device_and_precision(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Encoder.load("mine:x")
    gpu = torch.cuda.is_available()
    assert (asked["device"], asked["precision"]) == (("cuda", "fp16") if gpu else ("cpu", "fp32"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    Encoder.load("mine:x")
    assert (asked["device"], asked["precision"]) == ("cuda", "fp16")
    Encoder.load("mine:x", device="cuda:1", precision="fp32")
    assert (asked["device"], asked["precision"]) == ("cuda:1", "fp32")
    with pytest.raises(InputError, match=r"device is 'cuda:2'\. torch sees 2 CUDA devices here"):
        Encoder.load("mine:x", device="cuda:2")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (
            "mine:x",
            {"precision": "fp16", "device": "cpu"},
            "precision is 'fp16' on a CPU. A CPU computes in fp32 or bf16. Use precision='bf16'",
        ),
        ("mine:x", {"precision": "fp8"}, "'fp8' is not a precision. Known: bf16, fp16, fp32."),
        ("mine:x", {"device": "gpu"}, "'gpu' is not a device."),
        ("mine:x", {"dim": 0}, "dim is 0."),
        ("mine:x", {"batch_size": 0}, "batch_size is 0."),
        ("mine:x?dims=3", {}, "'dims' is not an option of an encoder."),
        ("mine:x?dim=three", {}, "'dim=three' came in 'mine:x?dim=three'. dim is a whole number."),
        (
            "mime:x",
            {},
            "'mime' is not an encoder family. Known: mine, open_clip, scenes, timm, transformers.",
        ),
        ("toi", {}, "'toi' is not an encoder."),
        ("", {}, "'' is not an encoder."),
        ("metaclip1.2", {}, "Did you mean 'metaclip-1.2'?"),
    ],
)
def test_wrong_specifications(
    asked: dict[str, Any], spec: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Encoder.load(spec, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_cuda_without_a_gpu_says_so(asked: dict[str, Any]) -> None:
    with pytest.raises(
        InputError, match=r"device is 'cuda'\. torch sees 0 CUDA devices here\. Use device='cpu'"
    ):
        Encoder.load("mine:x", device="cuda")


def test_families_of_other_packages(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    from importlib import metadata

    point = metadata.EntryPoint("theirs", "imgbench_test_family:load", "imgbench.encoders")

    def entry_points(*, group: str, name: str | None = None) -> tuple[metadata.EntryPoint, ...]:
        return (point,) if group == "imgbench.encoders" and name in (None, "theirs") else ()

    monkeypatch.setattr(families.metadata, "entry_points", entry_points)
    assert Encoder.load("theirs:big", device="cpu").name == "theirs:big"
    assert asked["model"] == "big"


def test_every_built_in_family_has_its_loader() -> None:
    import importlib

    for home in families.FAMILIES.values():
        module, _, function = home.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_bytes_are_images_too() -> None:
    buffer = io.BytesIO()
    picture(0, 1, 2).save(buffer, "png")
    np.testing.assert_allclose(Mine().encode_images([buffer.getvalue()]), unit([[1, 2, 3]]), rtol=1e-6)


def test_another_version_of_a_library_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Mine()
    before = encoder.fingerprint
    assert encoder.fingerprint == before
    monkeypatch.setattr("imgbench.environment.packages", lambda: {"pillow": "0.0.1"})
    assert encoder.fingerprint != before
