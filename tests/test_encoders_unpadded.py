"""Models of transformers without their padding: the vectors are those at full length."""

# ruff: noqa: S106  tokens of a tokenizer are no passwords

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from imgbench.encoders.transformers import TransformersEncoder, Unpadded

NAMES = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "a",
    "red",
    "car",
    "two",
    "dogs",
    "run",
    "over",
    "the",
    "snow",
    "ship",
]
HF_TEXT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
    "projection_dim": 24,
    "projection_size": 32,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
HF_VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def tokenizer(**options: Any) -> hf.PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({name: row for row, name in enumerate(NAMES)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, **special, **options)


def dual(config: type, kind: type, **text: Any) -> Any:
    torch.manual_seed(0)
    made = kind(config(text_config={**HF_TEXT, **text}, vision_config=HF_VISION, projection_dim=24))
    for name, weight in made.named_parameters():
        if weight.ndim > 1 and "logit" not in name:
            torch.nn.init.normal_(weight, std=0.3)
    return made.eval()


class Processor:
    """As much of a processor as texts need."""

    def __init__(self, **options: Any) -> None:
        self.tokenizer = tokenizer(**options)


HF_CAUSAL = {
    "clip": lambda: (dual(hf.CLIPConfig, hf.CLIPModel), Processor()),
    "clip, another end token": lambda: (dual(hf.CLIPConfig, hf.CLIPModel, eos_token_id=3), Processor()),
    "metaclip2": lambda: (dual(hf.MetaClip2Config, hf.MetaClip2Model), Processor()),
}
HF_PADDED = {
    "siglip": lambda: (
        dual(hf.SiglipConfig, hf.SiglipModel),
        Processor(model_input_names=["input_ids"]),
    ),
    "clip without a mask": lambda: (
        dual(hf.CLIPConfig, hf.CLIPModel),
        Processor(model_input_names=["input_ids"]),
    ),
    "derived": lambda: (dual(hf.CLIPConfig, type("CLIPModel", (hf.CLIPModel,), {})), Processor()),
}


@pytest.mark.parametrize("kind", sorted(HF_CAUSAL | HF_PADDED))
def test_models_of_transformers_give_what_they_give_at_full_length(kind: str) -> None:
    made, processor = (HF_CAUSAL | HF_PADDED)[kind]()
    found = TransformersEncoder(
        made, processor, identity={}, name="tiny", device="cpu", precision="fp32", batch_size=3
    )
    assert isinstance(found._shortcut, Unpadded) == (kind in HF_CAUSAL)
    dice = np.random.default_rng(0)
    texts = [" ".join(dice.choice(NAMES[4:], length)) for length in [*range(1, 20), 1, 1, 2]]
    padded = processor.tokenizer(
        texts, padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(made.get_text_features(**padded).pooler_output, dim=-1)
    np.testing.assert_allclose(found.encode_texts(texts), wanted.numpy(), atol=1e-5)
    np.testing.assert_allclose(found.encode_texts(texts[::-1]), wanted.numpy()[::-1], atol=1e-5)


def test_padding_on_the_left_is_not_cut() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])
    assert Unpadded(lambda tokens: tokens).lengths({"attention_mask": mask}).tolist() == [4, 2, 4]
