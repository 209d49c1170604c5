"""The encoder that ships with imgbench: a small CLIP, trained on scenes by
benchmarks/scenes_encoder/train.py.

It runs through the same code as any open_clip model. It knows only the words of the scenes' captions: the
rows of all other tokens did not travel and are zero.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from imgbench.encoders.open_clip import OpenClipEncoder, preprocessing
from imgbench.errors import InputError
from imgbench.types import Precision

if TYPE_CHECKING:
    import open_clip

BATCH_SIZE = 128
"""Images and texts are small here: fuller batches than open_clip's default keep a CPU busy."""


def load(
    model: str = "",
    *,
    device: str = "cpu",
    precision: Precision = Precision.FP32,
    batch_size: int | None = None,
    trust_remote_code: bool = False,  # noqa: ARG001  it runs none
    revision: str | None = None,
) -> OpenClipEncoder:
    """The encoder `scenes` with the shipped weights."""
    if model or revision is not None:
        raise InputError(
            f"The encoder scenes was asked for {model or revision!r}.",
            "It comes in one form.",
            "Write 'scenes' alone.",
        )
    network = _network()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    preprocess: Any = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    return OpenClipEncoder.from_parts(
        network,
        preprocess,
        _tokenizer(),
        name="scenes",
        identity={"model": about()["model_cfg"], "preprocess": preprocessing(network)},
        device=device,
        precision=precision,
        batch_size=batch_size or BATCH_SIZE,
    )


def about() -> dict[str, Any]:
    """The shipped configuration and the record of the training: `model_cfg`, `preprocess_cfg`, `training`."""
    return json.loads(_file("scenes.json").read_text(encoding="utf-8"))


def _file(name: str) -> Any:  # noqa: ANN401  importlib's Traversable
    return resources.files("imgbench.encoders").joinpath(name)


def _tokenizer() -> open_clip.SimpleTokenizer:
    import open_clip

    return open_clip.SimpleTokenizer(context_length=about()["model_cfg"]["text_cfg"]["context_length"])


def _network() -> Any:  # noqa: ANN401  open_clip ships no types
    import torch
    from open_clip.model import CLIP, set_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict
    from safetensors.torch import load

    shipped = about()
    network: Any = CLIP(**shipped["model_cfg"])
    state = {name: value.float() for name, value in load(_file("scenes.safetensors").read_bytes()).items()}
    table = torch.zeros_like(network.token_embedding.weight)
    table[state.pop("token_embedding.ids").long()] = state.pop("token_embedding.rows")
    network.load_state_dict({**state, "token_embedding.weight": table})
    size = {"size": network.visual.image_size}
    set_model_preprocess_cfg(
        network, merge_preprocess_dict(PreprocessCfg(), shipped["preprocess_cfg"] | size)
    )
    return network
