"""QuickGELU or GELU: weights that run under the other activation give plausible, wrong vectors.

open_clip registers many tags under both activations and only warns; here the wrong one is an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imgbench.errors import InputError

_SUFFIX = "-quickgelu"


def check_tag(name: str, tag: str) -> None:
    """InputError where a registered tag was trained with the other activation than `name` has.

    >>> check_tag("ViT-B-32-quickgelu", "openai")
    >>> check_tag("ViT-B-32", "openai")
    Traceback (most recent call last):
    imgbench.errors.InputError: 'openai' was trained with QuickGELU, but ViT-B-32 has GELU. ...
    """
    import open_clip

    wanted = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    if wanted == _has_quick(open_clip.get_model_config(name)):
        return
    other = name + _SUFFIX if wanted else name.removesuffix(_SUFFIX)
    registered = other != name and open_clip.pretrained.is_pretrained_cfg(other, tag)
    raise _mismatch(
        f"{tag!r}", name, wanted=wanted, do=f"Load 'open_clip:{other}/{tag}'." if registered else _BY_FOLDER
    )


_BY_FOLDER = "Save it to a folder whose open_clip_config.json has the right quick_gelu."


def check_folder(folder: Path, model_cfg: dict[str, Any]) -> None:
    """InputError where what lies beside a local checkpoint says that its activation is the other one.

    An open_clip config cannot contradict itself, so other witnesses are asked: a `config.json` of
    transformers (`hidden_act`) or of timm (`quickgelu` in the architecture), and the folder's name where it
    is that of a repository that open_clip registers.
    """
    wanted = next((said for said in (_by_config(folder), _by_name(folder)) if said is not None), None)
    if wanted is None or wanted == _has_quick(model_cfg):
        return
    raise _mismatch(
        f"The checkpoint in {folder}",
        "its open_clip_config.json",
        wanted=wanted,
        do=f'Set "quick_gelu": {"true" if wanted else "false"} in model_cfg.',
    )


def _mismatch(weights: str, model: str, *, wanted: bool, do: str) -> InputError:
    trained, has = ("QuickGELU", "GELU") if wanted else ("GELU", "QuickGELU")
    return InputError(
        f"{weights} was trained with {trained}, but {model} has {has}.",
        "Under the wrong activation the vectors are wrong without any other sign.",
        do,
    )


def _has_quick(model_cfg: dict[str, Any] | None) -> bool:
    return bool((model_cfg or {}).get("quick_gelu", False))


def _by_config(folder: Path) -> bool | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    towers = (config.get("vision_config"), config.get("text_config"))
    acts = {tower["hidden_act"] for tower in towers if isinstance(tower, dict) and "hidden_act" in tower}
    if acts:
        return "quick_gelu" in acts
    architecture = str(config.get("architecture", ""))
    # timm names both kinds alike but for this word; only its CLIP towers have it.
    return "quickgelu" in architecture if "_clip_" in architecture else None


def _by_name(folder: Path) -> bool | None:
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    # In the hub's cache a repository is models--owner--name/snapshots/commit.
    parts = {part.rpartition("--")[2] for part in folder.resolve().parts[-3:]}
    for name, tag in list_pretrained():
        cfg: dict[str, Any] = get_pretrained_cfg(name, tag)
        if cfg.get("hf_hub", "").rstrip("/").rpartition("/")[2] in parts:
            return bool(cfg.get("quick_gelu", False))
    return None
