"""From a specification to an encoder: presets, families and the checks that every family needs.

A family is a function `load(model, *, device, precision, batch_size, trust_remote_code, revision)` that
returns an Encoder; `device` and `precision` arrive checked, `batch_size` may be None. Other packages register
theirs as entry points of the group `imgbench.encoders`.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from imgbench.encoders import presets
from imgbench.errors import InputError, unknown
from imgbench.types import Precision

if TYPE_CHECKING:
    from imgbench.encoders.base import Encoder

FAMILIES = {
    "open_clip": "imgbench.encoders.open_clip:load",
    "scenes": "imgbench.encoders.scenes:load",
    "timm": "imgbench.encoders.timm:load",
    "transformers": "imgbench.encoders.transformers:load",
}
"""Where each family's loader lives."""

OPTIONS: dict[str, Callable[[str], Any]] = {
    "batch_size": int,
    "device": str,
    "dim": int,
    "precision": str,
    "revision": str,
}
"""What may follow `?` in a specification. `trust_remote_code` may not: it is said apart, on purpose."""

_SMALL_BATCH = 64


def load(
    spec: str | Encoder,
    *,
    device: str | None = None,
    precision: Precision | str | None = None,
    dim: int | None = None,
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Encoder:
    """See `Encoder.load`, whose body this is."""
    if not isinstance(spec, str):
        _check_loaded(spec, device=device, precision=precision, revision=revision)
        return _adjusted(spec, dim=dim, batch_size=batch_size)
    model, written = _options(spec)
    said: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "dim": dim,
        "batch_size": batch_size,
        "revision": revision,
    }
    options = written | {key: value for key, value in said.items() if value is not None}
    preset = presets.PRESETS.get(model)
    if preset and preset.remote_code and not (trust_remote_code and options.get("revision", preset.revision)):
        raise InputError(
            f"{model} brings Python code of its own ({preset.source}).",
            "imgbench runs such code only with an explicit flag and a pinned commit.",
            "Read the code, then pass trust_remote_code=True and revision='<commit>,<commit of its code>'.",
        )
    family, rest = _family(preset.spec if preset else model)
    place = _device(options.get("device"))
    encoder: Encoder = _loader(family)(
        rest,
        device=place,
        precision=_precision(options.get("precision"), place),
        batch_size=options.get("batch_size"),
        trust_remote_code=trust_remote_code,
        revision=options.get("revision") or (preset.revision if preset else None),
    )
    encoder.name = spec
    # For `again`. An own encoder's fingerprint leaves out a dict whose name starts with an underscore.
    vars(encoder)["_loaded"] = {
        "spec": model,
        "trust_remote_code": trust_remote_code,
        "revision": options.get("revision"),
    }
    return _adjusted(encoder, dim=options.get("dim"), batch_size=options.get("batch_size"))


def again(encoder: Encoder, precision: Precision | str) -> Encoder:
    """See `Encoder.in_precision`, whose body this is."""
    loaded = vars(encoder).get("_loaded")
    if loaded is None:
        raise InputError(
            f"{encoder.name} was not loaded by a name.",
            "Only what Encoder.load made can be loaded again in another precision.",
            "Load it by its name, or let its class override in_precision.",
        )
    # Not the batch that was found to be fast: another precision may take twice its memory.
    size = min(encoder.batch_size, _SMALL_BATCH)
    found = load(**loaded, precision=precision, device=encoder.device, batch_size=size)
    return found.truncated(encoder.dim)


def names() -> list[str]:
    """The families: built in, and of other packages."""
    return sorted({*FAMILIES, *(point.name for point in metadata.entry_points(group="imgbench.encoders"))})


@contextmanager
def fetching(what: str) -> Generator[None]:
    """Every way in which a model hub or a folder fails to give `what`, as one InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the hub's clients and the formats of weights each have their own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{what} could not be loaded: {lines[0][:300].rstrip('. ')}.",
            "It must be in the local cache, in a complete local folder, or on a hub that answers.",
            "Connect to the network (without HF_HUB_OFFLINE), or name a folder that holds the model.",
        ) from error


def _check_loaded(encoder: Encoder, **asked: object) -> None:
    for name, value in asked.items():
        if value is not None and str(value) != str(getattr(encoder, name, None)):
            raise InputError(
                f"{name}={str(value)!r} came with the encoder {encoder.name}, which is loaded already.",
                "Only dim and batch_size can still change.",
                f"Load it by its name with {name}={str(value)!r}.",
            )


def _adjusted(encoder: Encoder, *, dim: int | None, batch_size: int | None) -> Encoder:
    if batch_size is not None:
        if batch_size < 1:
            raise InputError(
                f"batch_size is {batch_size}.", "At least 1 was expected.", "Leave it out for the default."
            )
        encoder = copy.copy(encoder)
        encoder.batch_size = batch_size
    return encoder if dim is None else encoder.truncated(dim)


def _options(spec: str) -> tuple[str, dict[str, Any]]:
    model, mark, text = spec.rpartition("?")
    if not mark or "=" not in text:
        return spec, {}
    options: dict[str, Any] = {}
    for item in text.split("&"):
        key, _, value = item.partition("=")
        if key not in OPTIONS:
            raise unknown("an option of an encoder", key, OPTIONS)
        try:
            options[key] = OPTIONS[key](value)
        except ValueError:
            raise InputError(
                f"{item!r} came in {spec!r}.", f"{key} is a whole number.", f"Write {key}=256, for example."
            ) from None
    return model, options


def _family(spec: str) -> tuple[str, str]:
    family, colon, rest = spec.partition(":")
    if family in names():
        return family, rest
    if colon:
        raise unknown("an encoder family", family, names())
    raise unknown(
        "an encoder", spec, ["scenes", *presets.PRESETS], otherwise="Write family:model, or see the presets."
    )


def _loader(family: str) -> Any:
    if family in FAMILIES:
        module, _, function = FAMILIES[family].partition(":")
        return getattr(importlib.import_module(module), function)
    (point, *_) = metadata.entry_points(group="imgbench.encoders", name=family)
    return point.load()


def _device(device: str | None) -> str:
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError:
        raise unknown("a device", device, ["cpu", "cuda", "cuda:0", "mps"]) from None
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise InputError(
            f"device is {device!r}.",
            f"torch sees {found} CUDA devices here.",
            "Use device='cpu', or a GPU machine.",
        )
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("device is 'mps'.", "torch sees no Apple GPU here.", "Use device='cpu'.")
    return device


def _precision(precision: Precision | str | None, device: str) -> Precision:
    if precision is None:
        return Precision.FP16 if device.startswith("cuda") else Precision.FP32
    try:
        chosen = Precision(precision)
    except ValueError:
        raise unknown("a precision", str(precision), [str(known) for known in Precision]) from None
    if chosen is Precision.FP16 and device.startswith("cpu"):
        raise InputError(
            "precision is 'fp16' on a CPU.",
            "A CPU computes in fp32 or bf16.",
            "Use precision='bf16' for speed or 'fp32'.",
        )
    return chosen
