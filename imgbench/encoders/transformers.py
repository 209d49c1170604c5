"""The transformers family: `transformers:OWNER/NAME` of the hub or `transformers:/folder`.

CLIP, SigLIP, SigLIP 2 and MetaCLIP 2 run transformers' own code. A model that brings its own (Jina CLIP) runs
only with `trust_remote_code=True` and, from the hub, a pinned commit. Weights are read from safetensors only.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imgbench.encoders import batching, weights
from imgbench.encoders.base import Encoder
from imgbench.encoders.families import fetching
from imgbench.encoders.network import NetworkEncoder
from imgbench.encoders.texts import TokenEncoder, Tokens
from imgbench.errors import InputError
from imgbench.types import Precision

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH_SIZES = {"cpu": 16, "cuda": 128}
# Towers of transformers' own whose text sees what stands before it, masked where it is padding.
CAUSAL = frozenset(
    {
        "transformers.models.clip.modeling_clip.CLIPModel",
        "transformers.models.metaclip_2.modeling_metaclip_2.MetaClip2Model",
    }
)
QUERY_TASK = "retrieval.query"
_COMMIT = re.compile("[0-9a-f]{40}")
_LONGEST = 4096  # a tokenizer without a limit of its own says 1e30


@dataclass(frozen=True)
class Unpadded:
    """A causal tower of transformers, which takes tokens of any length and masks those that are padding."""

    encode: Callable[[Tokens], Any]
    step: int = 1

    def rows(self, tokens: Tokens) -> Any:
        """(text, dim) rows by the model's own code."""
        return self.encode(tokens)

    def lengths(self, tokens: Tokens) -> Any:
        """(text,) places up to the last token that the attention mask keeps."""
        mask = tokens["attention_mask"]
        return mask.shape[1] - mask.flip(1).argmax(dim=1)


class TransformersEncoder(TokenEncoder):
    """A dual encoder of transformers: `get_image_features` and `get_text_features`.

    Texts are padded to the model's context length, as SigLIP was trained; where padding changes nothing, in
    CLIP and MetaCLIP 2, to the longest of the batch.
    """

    family = "transformers"
    batch_sizes: ClassVar = BATCH_SIZES

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        identity: dict[str, object],
        **placement: Any,
    ) -> None:
        self._processor = processor
        self._context = _context(model, processor)
        self._hold(model, identity={**identity, "context": self._context}, **placement)
        masked = "attention_mask" in processor.tokenizer.model_input_names
        self._settle(Unpadded(self._plain) if masked and _class(model) in CAUSAL else None)

    def _prepare(self, image: Image) -> dict[str, Any]:
        batch = self._processor.image_processor(images=image, return_tensors="pt")
        return {key: value[0] for key, value in batch.items()}

    def _images(self, images: list[dict[str, Any]]) -> Any:
        import torch

        batch = {key: batching.moved([image[key] for image in images], self.device) for key in images[0]}
        with torch.inference_mode():
            return _projected(self._model.get_image_features(**self._moved(batch)))

    def _tokens(self, texts: list[str]) -> Tokens:
        return dict(
            self._processor.tokenizer(
                texts, padding="max_length", truncation=True, max_length=self._context, return_tensors="pt"
            )
        )

    def _plain(self, tokens: Tokens) -> Any:
        import torch

        with torch.inference_mode():
            return _projected(self._model.get_text_features(**self._moved(tokens)))

    def _moved(self, batch: Any) -> dict[str, Any]:
        return {
            key: value.to(self.device, self._dtype) if value.is_floating_point() else value.to(self.device)
            for key, value in batch.items()
        }


class RemoteEncoder(NetworkEncoder):
    """A model whose own remote code has `encode_image` and `encode_text`, as Jina CLIP v1 and v2.

    It is given PIL images only, because the code downloads every string that looks like an address. Texts are
    search queries: where the code knows tasks, they get Jina's instruction for queries (`retrieval.query`).
    """

    family = "transformers"
    batch_sizes: ClassVar = BATCH_SIZES

    def __init__(
        self,
        model: Any,
        *,
        identity: dict[str, object],
        **placement: Any,
    ) -> None:
        known = inspect.signature(model.encode_text).parameters
        self._task = {"task": QUERY_TASK} if "task" in known else {}
        self._hold(model, identity={**identity, **self._task}, **placement)
        self.dim = int(self._texts(["a"]).shape[1])

    def _images(self, images: list[Image]) -> Any:
        return self._rows(self._model.encode_image, images)

    def _texts(self, texts: list[str]) -> Any:
        return self._rows(self._model.encode_text, texts, **self._task)

    def _rows(self, encode: Any, items: list[Any], **options: str) -> Any:
        import torch

        with torch.inference_mode():
            return encode(
                items, batch_size=len(items), convert_to_numpy=True, normalize_embeddings=False, **options
            )


def load(
    model: str,
    *,
    device: str,
    precision: Precision,
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Encoder:
    """The encoder of a hub id or of a local folder.

    With remote code, `revision` is the model's commit; where its code lies in another repository, that one's
    commit follows after a comma.
    """
    local = Path(model).expanduser().is_dir()
    source = str(Path(model).expanduser()) if local else model
    pins = _pins(model, revision, local=local, trust_remote_code=trust_remote_code)
    with fetching(f"transformers:{model}"):
        from transformers import PretrainedConfig

        config, _ = PretrainedConfig.get_config_dict(source, revision=pins.get("revision"))
    remote = _remote(model, config, pins, local=local, trust_remote_code=trust_remote_code)
    network = _network(model, source, remote=remote, pins=pins)
    identity: dict[str, object] = {
        "model": type(network).__name__,
        "weights": "sha256:" + weights.state_hash(network),
        **(pins if remote else {}),
    }
    options: dict[str, Any] = {"device": device, "precision": precision, "batch_size": batch_size}
    if remote and hasattr(network, "encode_image") and hasattr(network, "encode_text"):
        return RemoteEncoder(network, name=f"transformers:{model}", identity=identity, **options)
    if not (hasattr(network, "get_image_features") and hasattr(network, "get_text_features")):
        raise InputError(
            f"{model} is a {type(network).__name__}.",
            "A model with an image and a text side was expected, such as CLIP, SigLIP or MetaCLIP 2.",
            "Choose one of those, or use timm for images alone.",
        )
    processor = _processor(model, source, remote=remote, pins=pins)
    identity["preprocess"] = processor.image_processor.to_dict()
    return TransformersEncoder(network, processor, name=f"transformers:{model}", identity=identity, **options)


def _network(model: str, source: str, *, remote: bool, pins: dict[str, str]) -> Any:
    from transformers import AutoModel

    if not remote:
        with fetching(f"transformers:{model}"):
            # Left open, transformers asks on standard input whether to run a configuration's code.
            return AutoModel.from_pretrained(source, use_safetensors=True, trust_remote_code=False, **pins)
    try:
        return AutoModel.from_pretrained(source, use_safetensors=True, trust_remote_code=True, **pins)
    except OSError:
        with fetching(f"transformers:{model}"):
            raise
    except Exception as error:  # the remote code may raise anything
        raise _broken(model, error) from error


def _processor(model: str, source: str, *, remote: bool, pins: dict[str, str]) -> Any:
    from transformers import AutoProcessor

    with fetching(f"the processor of transformers:{model}"):
        return AutoProcessor.from_pretrained(source, trust_remote_code=remote, **pins)


def _pins(model: str, revision: str | None, *, local: bool, trust_remote_code: bool) -> dict[str, str]:
    if local or (revision is None and not trust_remote_code):
        return {}
    commit, _, code = (revision or "").partition(",")
    if trust_remote_code and not all(_COMMIT.fullmatch(pin) for pin in (commit, code or commit)):
        raise InputError(
            f"trust_remote_code came for {model} with revision {revision!r}.",
            "Remote code runs only from a pinned commit of 40 hexadecimal digits.",
            "Read the code, then pass revision='<commit>' (and ',<commit of the code's own repository>').",
        )
    return {"revision": commit} | ({"code_revision": code} if code else {})


def _remote(
    model: str, config: dict[str, Any], pins: dict[str, str], *, local: bool, trust_remote_code: bool
) -> bool:
    """Whether the model brings code that must run; InputError where it may not."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if "AutoModel" not in config.get("auto_map", {}) or config.get("model_type") in CONFIG_MAPPING:
        return False
    if not trust_remote_code:
        raise InputError(
            f"{model} brings Python code of its own.",
            "imgbench runs such code only when it is told to.",
            "Read the code, then pass trust_remote_code=True"
            + (" ." if local else " and revision='<commit>'."),
        )
    elsewhere = [str(place) for place in config["auto_map"].values() if "--" in str(place)]
    if elsewhere and "code_revision" not in pins:
        raise InputError(
            f"The code of {model} lies in another repository, {elsewhere[0].partition('--')[0]}.",
            "Its commit must be pinned too.",
            "Pass revision='<commit of the model>,<commit of the code>'.",
        )
    return True


def _broken(model: str, error: Exception) -> InputError:
    import transformers

    first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
    return InputError(
        f"The remote code of {model} does not run here: {first}.",
        f"Code written for transformers {transformers.__version__} was expected.",
        "Pin a newer commit of the code, install the version it names, or choose another encoder.",
    )


def _class(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _context(model: Any, processor: Any) -> int:
    text = getattr(model.config, "text_config", model.config)
    positions = getattr(text, "max_position_embeddings", None) or _LONGEST
    return int(min(positions, processor.tokenizer.model_max_length, _LONGEST))


def _projected(output: Any) -> Any:
    import torch

    # Since transformers 5 features come as an output object; its pooler_output is the projected embedding.
    return (output if torch.is_tensor(output) else output.pooler_output).float()
