"""The transformers family, on tiny models saved to folders: what it returns is what the models return."""

# ruff: noqa: S106  tokens of a tokenizer are no passwords

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from imgbench.encoders.base import Encoder
from imgbench.errors import InputError

WORDS = ["a", "red", "car", "two", "blue", "ships", "on", "lake", "dog"]
TEXTS = ["a red car", "two blue ships on a lake", "a dog"]
LONG = " ".join(WORDS * 5)
TEXT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "projection_dim": 24,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "projection_dim": 24,
}
SIZE = {"height": 32, "width": 32}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def tokenizer(**options: Any) -> hf.PreTrainedTokenizerFast:
    names = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    backend = Tokenizer(models.WordLevel({name: row for row, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        **options,
    )


def clip() -> tuple[Any, Any]:
    config = hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    return hf.CLIPModel(config), hf.CLIPProcessor(images, tokenizer())


def metaclip2() -> tuple[Any, Any]:
    config = hf.MetaClip2Config(text_config=TEXT, vision_config=VISION, projection_dim=24)
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    return hf.MetaClip2Model(config), hf.CLIPProcessor(images, tokenizer())


def siglip() -> tuple[Any, Any]:
    config = hf.SiglipConfig(text_config={**TEXT, "projection_size": 32}, vision_config=VISION)
    return hf.SiglipModel(config), hf.SiglipProcessor(
        hf.SiglipImageProcessor(size=SIZE), tokenizer(model_input_names=["input_ids"])
    )


def siglip2() -> tuple[Any, Any]:
    vision = {**VISION, "num_patches": 4}
    config = hf.Siglip2Config(text_config={**TEXT, "projection_size": 32}, vision_config=vision)
    images = hf.Siglip2ImageProcessor(patch_size=16, max_num_patches=4)
    return hf.Siglip2Model(config), hf.Siglip2Processor(images, tokenizer(model_input_names=["input_ids"]))


FAMILIES = {"clip": clip, "metaclip2": metaclip2, "siglip": siglip, "siglip2": siglip2}


@pytest.fixture
def photos() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 48, 40, 3), np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def saved(family: str, folder: Path) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    # A fresh tower's outputs hardly depend on its input: larger weights let every test fail that should.
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "logit" not in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors.float(), dim=-1).detach().numpy()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_folder_gives_the_models_projected_embeddings(
    family: str, tmp_path: Path, photos: list[Image.Image]
) -> None:
    model, _ = saved(family, tmp_path)
    processor = hf.AutoProcessor.from_pretrained(tmp_path)
    encoder = Encoder.load(f"transformers:{tmp_path}", device="cpu")
    images = model.get_image_features(**processor.image_processor(photos, return_tensors="pt")).pooler_output
    padded = processor.tokenizer(
        [*TEXTS, LONG], padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )
    texts = model.get_text_features(**padded).pooler_output
    assert encoder.dim == images.shape[1]
    assert encoder.identity()["context"] == 16
    np.testing.assert_allclose(encoder.encode_images(photos), unit(images), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts([*TEXTS, LONG]), unit(texts), atol=1e-5)
    spread = encoder.encode_texts(TEXTS) @ encoder.encode_texts(TEXTS).T
    assert spread[0, 1] < 0.999


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_batches_change_nothing_but_float_noise(
    family: str, tmp_path: Path, photos: list[Image.Image]
) -> None:
    saved(family, tmp_path)
    whole = Encoder.load(f"transformers:{tmp_path}", device="cpu")
    single = Encoder.load(f"transformers:{tmp_path}", device="cpu", batch_size=1)
    np.testing.assert_allclose(whole.encode_images(photos), single.encode_images(photos), atol=1e-5)
    np.testing.assert_allclose(whole.encode_texts(TEXTS), single.encode_texts(TEXTS), atol=1e-5)
    assert whole.fingerprint == single.fingerprint


def test_siglip_pads_to_its_length_because_its_pooling_reads_the_last_token(tmp_path: Path) -> None:
    model, processor = saved("siglip", tmp_path)
    encoder = Encoder.load(f"transformers:{tmp_path}", device="cpu")
    unpadded = model.get_text_features(**processor.tokenizer(TEXTS[:1], return_tensors="pt")).pooler_output
    assert float((encoder.encode_texts(TEXTS[:1]) @ unit(unpadded).T).item()) < 0.99


def test_a_long_context_is_used_whole(tmp_path: Path) -> None:
    """Long-CLIP is a CLIP with 248 positions: the model's configuration decides, not the usual 77."""
    config = hf.CLIPConfig(
        text_config={**TEXT, "max_position_embeddings": 248}, vision_config=VISION, projection_dim=24
    )
    hf.CLIPModel(config).save_pretrained(tmp_path)
    clip()[1].save_pretrained(tmp_path)
    encoder = Encoder.load(f"transformers:{tmp_path}", device="cpu")
    first, second = encoder.encode_texts(["a " * 100, "a " * 100 + "dog"])
    assert encoder.identity()["context"] == 248
    assert not np.array_equal(first, second)


def test_bf16_is_close_to_fp32(tmp_path: Path, photos: list[Image.Image]) -> None:
    saved("clip", tmp_path)
    full = Encoder.load(f"transformers:{tmp_path}", device="cpu").encode_images(photos)
    half = Encoder.load(f"transformers:{tmp_path}?precision=bf16", device="cpu").encode_images(photos)
    assert 0 < np.abs(full - half).max() < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_fp16_on_cuda_is_close_to_fp32(family: str, tmp_path: Path, photos: list[Image.Image]) -> None:
    saved(family, tmp_path)
    full = Encoder.load(f"transformers:{tmp_path}", device="cpu")
    half = Encoder.load(f"transformers:{tmp_path}")
    assert half.precision == "fp16"
    np.testing.assert_allclose(half.encode_images(photos), full.encode_images(photos), atol=0.02)
    np.testing.assert_allclose(half.encode_texts(TEXTS), full.encode_texts(TEXTS), atol=0.02)


def test_weights_other_than_safetensors_are_refused(tmp_path: Path) -> None:
    model, _ = saved("clip", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="could not be loaded"):
        Encoder.load(f"transformers:{tmp_path}", device="cpu")


def test_a_model_of_one_side_is_refused(tmp_path: Path) -> None:
    hf.CLIPVisionModel(hf.CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="A model with an image and a text side was expected"):
        Encoder.load(f"transformers:{tmp_path}", device="cpu")


def test_a_hub_that_does_not_answer_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        Encoder.load("transformers:openai/no-such-model-of-imgbench", device="cpu")
    assert str(caught.value).startswith("transformers:openai/no-such-model-of-imgbench could not be loaded: ")
    assert caught.value.do.startswith("Connect to the network (without HF_HUB_OFFLINE)")


CODE = """
    import torch
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import BaseModelOutput

    class RemoteConfig(PretrainedConfig):
        model_type = "imgbench_remote_test"

    class RemoteModel(PreTrainedModel):
        config_class = RemoteConfig
        def __init__(self, config):
            super().__init__(config)
            self.scale = torch.nn.Parameter(torch.ones(4))
            self.post_init()
        def encode_image(self, images, batch_size=32, convert_to_numpy=True, normalize_embeddings=True):
            assert all(type(image).__name__ == "Image" for image in images) and not normalize_embeddings
            rows = [torch.tensor([1.0, *image.getpixel((0, 0))]) for image in images]
            return (self.scale * torch.stack(rows)).numpy()
        def encode_text(self, sentences, task=None, batch_size=32, convert_to_numpy=True,
                        normalize_embeddings=True):
            assert task == "retrieval.query"
            rows = [torch.tensor([1.0, len(sentence), 0, 0]) for sentence in sentences]
            return (self.scale * torch.stack(rows)).numpy()
"""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from safetensors.torch import save_file

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "modeling_remote.py").write_text(textwrap.dedent(CODE))
    config = {
        "model_type": "imgbench_remote_test",
        "auto_map": {
            "AutoConfig": "modeling_remote.RemoteConfig",
            "AutoModel": "modeling_remote.RemoteModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"scale": torch.ones(4)}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_remote_code_runs_only_when_told_to(remote: Path) -> None:
    with pytest.raises(
        InputError, match=r"brings Python code of its own.*Read the code, then pass trust_remote_code=True"
    ):
        Encoder.load(f"transformers:{remote}", device="cpu")
    encoder = Encoder.load(f"transformers:{remote}", device="cpu", trust_remote_code=True)
    black = encoder.encode_images([Image.new("RGB", (2, 2))])
    np.testing.assert_allclose(black, [[1, 0, 0, 0]])
    np.testing.assert_allclose(encoder.encode_texts(["abc"]), [[10**-0.5, 3 * 10**-0.5, 0, 0]], rtol=1e-6)
    assert encoder.identity()["task"] == "retrieval.query"
    assert encoder.truncated(2).encode_texts(["abc"]).shape == (1, 2)


def test_a_configuration_of_its_own_is_not_run_and_nobody_is_asked(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((remote / "config.json").read_text())
    del config["auto_map"]["AutoModel"]
    (remote / "config.json").write_text(json.dumps(config))
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    with pytest.raises(InputError, match="could not be loaded"):
        Encoder.load(f"transformers:{remote}", device="cpu")
    assert asked == []


def test_remote_code_that_does_not_run_here_says_so(remote: Path) -> None:
    code = remote / "modeling_remote.py"
    code.write_text("from transformers.models.clip.modeling_clip import clip_loss\n" + code.read_text())
    with pytest.raises(
        InputError, match=r"The remote code of .* does not run here: cannot import name 'clip_loss'"
    ):
        Encoder.load(f"transformers:{remote}", device="cpu", trust_remote_code=True)


@pytest.mark.parametrize("part", ["AutoModel", "AutoConfig"])
def test_code_in_another_repository_must_be_pinned_too(remote: Path, part: str) -> None:
    config = json.loads((remote / "config.json").read_text())
    config["auto_map"][part] = "someone/code--" + config["auto_map"][part]
    (remote / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=r"lies in another repository, someone/code\. Its commit must be pinned too"
    ):
        Encoder.load(f"transformers:{remote}", device="cpu", trust_remote_code=True)


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:7], COMMIT + ",main"])
def test_remote_code_of_the_hub_needs_a_pinned_commit(revision: str | None) -> None:
    with pytest.raises(
        InputError, match="Remote code runs only from a pinned commit of 40 hexadecimal digits"
    ):
        Encoder.load("transformers:someone/model", device="cpu", trust_remote_code=True, revision=revision)
