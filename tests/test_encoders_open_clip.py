"""The open_clip family, on tiny models written to folders: what it returns is what open_clip returns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from imgbench.encoders.base import Encoder
from imgbench.encoders.open_clip import OpenClipEncoder
from imgbench.errors import InputError

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESS = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}
TEXTS = ["a red car", "two blue ships on a lake", "a dog"]

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes a tiny checkpoint with its config and gives the folder."""

    def write(*, file: str = "open_clip_model.safetensors", seed: int = 0, **model_cfg: object) -> Path:
        config = {"model_cfg": {**MODEL, **model_cfg}, "preprocess_cfg": PREPROCESS}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        torch.manual_seed(seed)
        model = open_clip.create_model(f"local-dir:{tmp_path}", load_weights=False)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        if file.endswith(".safetensors"):
            save_file(state, tmp_path / file)
        else:
            torch.save({"epoch": 1, "state_dict": state}, tmp_path / file)
        return tmp_path

    return write


@pytest.fixture
def photos() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 48, 40, 3), np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors.float(), dim=-1).numpy()


def test_a_folder_gives_what_open_clip_gives(folder: Folder, photos: list[Image.Image]) -> None:
    path = folder()
    encoder = Encoder.load(f"open_clip:{path}", device="cpu")
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{path}")
    model.eval()
    with torch.inference_mode():
        images = unit(model.encode_image(torch.stack([preprocess(photo) for photo in photos])))
        texts = unit(model.encode_text(open_clip.get_tokenizer(f"local-dir:{path}")(TEXTS)))
    assert encoder.dim == 16
    assert encoder.name == f"open_clip:{path}"
    assert encoder.encode_images(photos).dtype == np.float32
    np.testing.assert_allclose(encoder.encode_images(photos), images, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-6)


@pytest.mark.parametrize("file", ["epoch_3.pt", "weights.safetensors", "open_clip_pytorch_model.bin"])
def test_every_kind_of_checkpoint_gives_the_same_vectors(
    folder: Folder, photos: list[Image.Image], file: str
) -> None:
    path = folder(file=file)
    encoder = Encoder.load(f"open_clip:{path}", device="cpu")
    (path / file).unlink()
    folder()
    np.testing.assert_array_equal(
        encoder.encode_images(photos), Encoder.load(f"open_clip:{path}", device="cpu").encode_images(photos)
    )


def test_a_pickle_with_code_is_refused(folder: Folder) -> None:
    path = folder()
    (path / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": {"a": Path("x")}}, path / "weights.pt")
    with pytest.raises(InputError, match="Weights only load failed"):
        Encoder.load(f"open_clip:{path}", device="cpu")


def test_batches_change_nothing_but_float_noise_and_keep_the_order(
    folder: Folder, photos: list[Image.Image]
) -> None:
    path = folder()
    whole = Encoder.load(f"open_clip:{path}", device="cpu")
    single = Encoder.load(f"open_clip:{path}", device="cpu", batch_size=1)
    assert (whole.batch_size, single.batch_size) == (32, 1)
    np.testing.assert_allclose(whole.encode_images(photos), single.encode_images(photos), atol=1e-6)
    np.testing.assert_allclose(
        whole.encode_images(photos[::-1])[::-1], whole.encode_images(photos), atol=1e-6
    )
    np.testing.assert_allclose(whole.encode_texts(TEXTS)[2:], whole.encode_texts(TEXTS[2:]), atol=1e-6)


def test_bf16_is_close_to_fp32_and_says_so(folder: Folder, photos: list[Image.Image]) -> None:
    path = folder()
    full = Encoder.load(f"open_clip:{path}", device="cpu")
    half = Encoder.load(f"open_clip:{path}", device="cpu", precision="bf16")
    assert half.precision == "bf16"
    assert half.fingerprint != full.fingerprint
    vectors = half.encode_images(photos)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6  # normalised in float32, not in bf16
    assert 0 < np.abs(vectors - full.encode_images(photos)).max() < 0.03


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_fp16_on_cuda_is_close_to_fp32(folder: Folder, photos: list[Image.Image]) -> None:
    path = folder()
    half = Encoder.load(f"open_clip:{path}")
    assert (half.device, half.precision) == ("cuda", "fp16")
    full = Encoder.load(f"open_clip:{path}", device="cpu")
    np.testing.assert_allclose(half.encode_images(photos), full.encode_images(photos), atol=0.01)
    np.testing.assert_allclose(half.encode_texts(TEXTS), full.encode_texts(TEXTS), atol=0.01)


def test_the_fingerprint_follows_weights_and_preprocessing(folder: Folder) -> None:
    path = folder()
    first = Encoder.load(f"open_clip:{path}", device="cpu").fingerprint
    assert re.fullmatch("sha256:[0-9a-f]{64}", first)
    assert Encoder.load(f"open_clip:{path}", device="cpu", batch_size=2).fingerprint == first
    config = json.loads((path / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "shortest"
    (path / "open_clip_config.json").write_text(json.dumps(config))
    second = Encoder.load(f"open_clip:{path}", device="cpu").fingerprint
    folder(seed=1)
    assert len({first, second, Encoder.load(f"open_clip:{path}", device="cpu").fingerprint}) == 3


def test_loading_leaves_the_log_alone(folder: Folder) -> None:
    import subprocess
    import sys

    code = (
        "import logging; from imgbench.encoders.base import Encoder; "
        f"Encoder.load('open_clip:{folder()}', device='cpu'); print(logging.getLogger().handlers)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_from_parts_is_the_same_encoder(folder: Folder, photos: list[Image.Image]) -> None:
    path = folder()
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{path}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{path}")
    encoder = OpenClipEncoder.from_parts(model, preprocess, tokenizer, name="mine", identity={"version": 1})
    loaded = Encoder.load(f"open_clip:{path}", device="cpu")
    np.testing.assert_array_equal(encoder.encode_images(photos), loaded.encode_images(photos))
    np.testing.assert_array_equal(encoder.encode_texts(TEXTS), loaded.encode_texts(TEXTS))
    assert encoder.identity()["version"] == 1
    assert str(encoder.identity()["weights"]).startswith("sha256:")


def test_random_weights_are_seeded_and_warn() -> None:
    with pytest.warns(UserWarning, match="random weights: measure speed with it, never quality"):
        first = Encoder.load("open_clip:RN50/random", device="cpu")
    with pytest.warns(UserWarning, match="random weights"):
        second = Encoder.load("open_clip:RN50/random", device="cpu", precision="bf16")
    assert first.identity()["weights"] == second.identity()["weights"]
    assert first.dim == 1024


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "ViT-B-32/openai",
            (
                "'openai' was trained with QuickGELU, but ViT-B-32 has GELU. Under the wrong activation the "
                "vectors are wrong without any other sign. Load 'open_clip:ViT-B-32-quickgelu/openai'."
            ),
        ),
        (
            "ViT-H-14-worldwide/metaclip2_worldwide",
            "Load 'open_clip:ViT-H-14-worldwide-quickgelu/metaclip2_worldwide'",
        ),
        (
            "roberta-ViT-B-32/laion2b_s12b_b32k",
            "Save it to a folder whose open_clip_config.json has the right",
        ),
        ("ViT-B-31/openai", "Did you mean 'ViT-B-32'?"),
        ("/no/such/folder", "'/no/such/folder' is not an open_clip model or a folder."),
        ("ViT-B-32/laion2b", "'laion2b' is not a tag of ViT-B-32."),
        ("ViT-B-32", "'' is not a tag of ViT-B-32."),
    ],
)
def test_wrong_names_and_activations(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Encoder.load(f"open_clip:{spec}", device="cpu")


def test_every_tag_under_the_wrong_activation_is_refused() -> None:
    from imgbench.encoders.activation import check_tag

    wrong = [
        (name, tag)
        for name, tag in open_clip.list_pretrained()
        if bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
        != bool(open_clip.get_model_config(name).get("quick_gelu"))
    ]
    assert len(wrong) > 20
    for name, tag in open_clip.list_pretrained():
        if (name, tag) in wrong:
            with pytest.raises(InputError, match="was trained with"):
                check_tag(name, tag)
        else:
            check_tag(name, tag)


@pytest.mark.parametrize(
    ("beside", "quick", "wrong"),
    [
        ({"vision_config": {"hidden_act": "quick_gelu"}}, False, True),
        ({"vision_config": {"hidden_act": "quick_gelu"}}, True, False),
        ({"text_config": {"hidden_act": "gelu"}}, True, True),
        ({"architecture": "vit_base_patch32_clip_quickgelu_224"}, False, True),
        ({"architecture": "vit_base_patch32_clip_224"}, False, False),
        ({"architecture": "resnet50"}, True, False),
    ],
)
def test_a_local_checkpoint_under_the_wrong_activation(
    folder: Folder, beside: dict[str, object], quick: bool, wrong: bool
) -> None:
    path = folder(quick_gelu=quick)
    (path / "config.json").write_text(json.dumps(beside))
    if not wrong:
        assert Encoder.load(f"open_clip:{path}", device="cpu").dim == 16
        return
    with pytest.raises(InputError, match=f'Set "quick_gelu": {"false" if quick else "true"} in model_cfg'):
        Encoder.load(f"open_clip:{path}", device="cpu")


def test_a_copied_hub_folder_is_known_by_its_name(tmp_path: Path) -> None:
    from imgbench.encoders.activation import check_folder

    snapshot = tmp_path / "models--timm--vit_base_patch32_clip_224.openai" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"was trained with QuickGELU, but its open_clip_config\.json has GELU"
    ):
        check_folder(snapshot, dict(MODEL))
    check_folder(snapshot, {**MODEL, "quick_gelu": True})


def test_folders_that_are_not_models(tmp_path: Path, folder: Folder) -> None:
    with pytest.raises(InputError, match=r"holds no open_clip_config\.json"):
        Encoder.load(f"open_clip:{tmp_path}", device="cpu")
    path = folder()
    (path / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds 0 checkpoints\. Exactly one"):
        Encoder.load(f"open_clip:{path}", device="cpu")
    (path / "a.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="could not be loaded"):
        Encoder.load(f"open_clip:{path}", device="cpu")
    (path / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"is not readable: KeyError\('model_cfg'\)"):
        Encoder.load(f"open_clip:{path}", device="cpu")
    (path / "open_clip_config.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not readable: RecursionError"):
        Encoder.load(f"open_clip:{path}", device="cpu")


def test_a_tag_that_is_not_in_the_cache_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        Encoder.load("open_clip:ViT-B-32-quickgelu/openai", device="cpu")
    assert "open_clip:ViT-B-32-quickgelu/openai could not be loaded" in str(caught.value)
    assert (
        caught.value.do
        == "Connect to the network (without HF_HUB_OFFLINE), or name a folder that holds the model."
    )
