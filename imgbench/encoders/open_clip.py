"""The open_clip family: `open_clip:MODEL/TAG`, `open_clip:MODEL/random` and `open_clip:/folder`.

A folder holds open_clip's own `open_clip_config.json` (`model_cfg`, `preprocess_cfg`) beside the weights.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from imgbench.encoders import towers, weights
from imgbench.encoders.activation import check_folder, check_tag
from imgbench.encoders.families import fetching
from imgbench.encoders.pixels import PixelEncoder
from imgbench.encoders.texts import TokenEncoder, Tokens
from imgbench.errors import InputError, unknown
from imgbench.types import Precision

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

SEED = 0
_Parts: TypeAlias = "tuple[Any, Any, Any, dict[str, object]]"  # model, preprocess, tokenizer, identity
CONFIG = "open_clip_config.json"
# open_clip's own order of preference, then what its training writes.
CHECKPOINTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)


class OpenClipEncoder(TokenEncoder, PixelEncoder):
    """A CLIP of open_clip, its preprocessing and tokenizer: by `Encoder.load` or `from_parts`."""

    family = "open_clip"
    batch_sizes: ClassVar = {"cpu": 32, "cuda": 256}

    def __init__(
        self,
        model: torch.nn.Module,
        preprocess: Callable[[Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        identity: dict[str, object],
        **placement: Any,
    ) -> None:
        self._hold(model, identity=identity, **placement)
        self._see(preprocess)
        self._tokenizer = tokenizer
        self._settle(towers.shortcut(self._model))

    @classmethod
    def from_parts(
        cls,
        model: torch.nn.Module,
        preprocess: Callable[[Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        name: str,
        identity: dict[str, object] | None = None,
        device: str = "cpu",
        precision: Precision | str = Precision.FP32,
        batch_size: int | None = None,
    ) -> OpenClipEncoder:
        """An encoder from an open_clip model (or any with encode_image and encode_text) in your hands.

        `preprocess` makes one RGB PIL image a float tensor (channel, height, width); `tokenizer` makes a list
        of texts an int tensor (text, token). `identity` describes preprocessing and tokenizer for the key of
        the embeddings; the hash of the weights is added unless it names `weights`. The model is moved and
        cast in place, and is not to be changed afterwards: the key speaks of it as it is now, and layers may
        be replaced, hooked or edited by way of `.data` without any effect here.
        """
        described = dict(identity or {})
        if "weights" not in described:
            described["weights"] = "sha256:" + weights.state_hash(model)
        described.setdefault("preprocess", preprocessing(model))
        return cls(
            model,
            preprocess,
            tokenizer,
            name=name,
            identity=described,
            device=device,
            precision=Precision(precision),
            batch_size=batch_size,
        )

    def _images(self, images: list[torch.Tensor]) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            return self._model.encode_image(self._batch(images)).float()

    def _tokens(self, texts: list[str]) -> Tokens:
        return {"text": self._tokenizer(texts).cpu()}

    def _plain(self, tokens: Tokens) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            return self._model.encode_text(tokens["text"].to(self.device)).float()


def load(
    model: str,
    *,
    device: str,
    precision: Precision,
    batch_size: int | None = None,
    trust_remote_code: bool = False,  # noqa: ARG001  open_clip runs none
    revision: str | None = None,
) -> OpenClipEncoder:
    """The encoder of `MODEL/TAG`, of `MODEL/random` (seeded, with a warning) or of a local folder."""
    if revision is not None:
        raise InputError(
            f"revision is {revision!r}.",
            "open_clip's tags have no revisions.",
            "Leave it out, or name a folder.",
        )
    folder = Path(model).expanduser()
    parts = _from_folder(folder) if folder.is_dir() and not _registered(model) else _from_registry(model)
    network, preprocess, tokenizer, identity = parts
    identity["preprocess"] = preprocessing(network)
    identity["context"] = getattr(tokenizer, "context_length", None)
    return OpenClipEncoder(
        network,
        preprocess,
        tokenizer,
        name=f"open_clip:{model}",
        identity=identity,
        device=device,
        precision=precision,
        batch_size=batch_size,
    )


def preprocessing(model: Any) -> dict[str, object]:
    """open_clip's record of a model's preprocessing: size, mean, std, interpolation, resize mode."""
    cfg = getattr(getattr(model, "visual", None), "preprocess_cfg", None) or {}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in cfg.items()}


def _registered(spec: str) -> bool:
    import open_clip

    return spec.partition("/")[0] in open_clip.list_models()


def _from_registry(spec: str) -> _Parts:
    import open_clip
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, is_pretrained_cfg

    name, _, tag = spec.partition("/")
    if not _registered(spec):
        raise unknown("an open_clip model or a folder", name or spec, open_clip.list_models())
    if tag == "random":
        return _random(name)
    if not is_pretrained_cfg(name, tag):
        raise unknown(f"a tag of {name}", tag, [*open_clip.list_pretrained_tags_by_model(name), "random"])
    check_tag(name, tag)
    with fetching(f"open_clip:{spec}"), _quiet():
        checkpoint = download_pretrained(get_pretrained_cfg(name, tag))
        network = open_clip.create_model(name, pretrained=tag, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(name)
    return _parts(network, tokenizer, {"model": name, "weights": "sha256:" + weights.file_hash(checkpoint)})


def _random(name: str) -> _Parts:
    import open_clip
    import torch

    warnings.warn(
        f"open_clip:{name}/random has random weights: measure speed with it, never quality.",
        UserWarning,
        stacklevel=2,
    )
    with fetching(f"open_clip:{name}/random"), _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = open_clip.create_model(name, pretrained_text=False)
        tokenizer = open_clip.get_tokenizer(name)
    return _parts(network, tokenizer, {"model": name, "weights": "sha256:" + weights.state_hash(network)})


def _from_folder(folder: Path) -> _Parts:
    import open_clip
    from open_clip.factory import load_checkpoint

    config = _config(folder)
    checkpoint = _checkpoint(folder)
    check_folder(folder, config)
    with fetching(f"open_clip:{folder}"), _quiet():
        source = f"local-dir:{folder}"
        network: Any = open_clip.create_model(source, load_weights=False, pretrained_text=False)
        load_checkpoint(network, str(checkpoint), strict=True, weights_only=True)
        tokenizer = open_clip.get_tokenizer(source)
    return _parts(network, tokenizer, {"model": config, "weights": "sha256:" + weights.file_hash(checkpoint)})


@contextmanager
def _quiet() -> Generator[None]:
    """Open_clip logs by the root logger, which installs a handler, and warns of weights not yet loaded."""
    root, level = logging.getLogger(), logging.root.manager.disable
    handlers = list(root.handlers)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        root.handlers[:] = handlers


def _parts(network: Any, tokenizer: Any, identity: dict[str, object]) -> _Parts:
    """With open_clip's own transform for images, as the model's record of its preprocessing says."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    preprocess = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    return network, preprocess, tokenizer, identity


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(
            f"{folder} holds no {CONFIG}.",
            "A folder in open_clip's form was expected.",
            "Write model_cfg and preprocess_cfg there, as open_clip's push_to_hf_hub does.",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return dict(config["model_cfg"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is not readable: {error!r}.",
            "JSON with the key model_cfg was expected.",
            "Write it as open_clip's push_to_hf_hub does.",
        ) from error


def _checkpoint(folder: Path) -> Path:
    for name in CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    found = [
        path for kind in ("safetensors", "pt", "pth", "bin") for path in sorted(folder.glob(f"*.{kind}"))
    ]
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"{folder} holds {len(found)} checkpoints.",
        "Exactly one .safetensors, .pt, .pth or .bin file was expected.",
        f"Name the right one {CHECKPOINTS[0]} or leave only one.",
    )
