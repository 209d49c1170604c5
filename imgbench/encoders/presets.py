"""Models worth measuring, by short names: what to load, how large it is, who may use it.

>>> PRESETS["metaclip-1.2"].spec
'open_clip:ViT-H-14/metaclip_altogether'
>>> PRESETS["metaclip-1.2"].licence
'CC-BY-NC-4.0'

Licences are written down as far as they were known without a network, in November 2026, and not legal advice: read
the source's own before you rely on one. Nothing is downloaded before a preset is loaded.
"""

# ruff: noqa: E501  a table reads in rows

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

HUB = "https://huggingface.co/"
NON_COMMERCIAL = "CC-BY-NC-4.0"
APPLE = "Apple ML Research Model (research only)"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One model: its specification, and what to know before choosing it."""

    name: str
    spec: str
    dim: int
    px: int
    licence: str
    source: str
    notes: str = ""
    remote_code: bool = False  # brings Python code of its own, which runs only when it is told to
    revision: str | None = None


def table() -> list[Preset]:
    """Every preset, by family and size."""
    return list(PRESETS.values())


def _clip(name: str, model: str, dim: int, px: int, licence: str, hub: str, notes: str = "") -> Preset:  # noqa: PLR0917  a row of the table
    spec = f"open_clip:{model}"
    return Preset(name=name, spec=spec, dim=dim, px=px, licence=licence, source=HUB + hub, notes=notes)


_XLM_V = "multilingual; its tokenizer facebook/xlm-v-base comes from the hub"
_SIGLIP = "its tokenizer comes from the hub; lower-cases, strips punctuation, reads 64 tokens"
_SHORT = "reads 32 tokens of a text"
_METACLIP2 = "metaclip2_worldwide"
_V = "timm/vit_"

_ROWS = (
    # MetaCLIP 1, 1.2 ("Altogether": the same network, recaptioned data, plain GELU) and 2.
    _clip("metaclip-b32", "ViT-B-32-quickgelu/metaclip_fullcc", 512, 224, NON_COMMERCIAL, f"{_V}base_patch32_clip_224.metaclip_2pt5b"),
    _clip("metaclip-b16", "ViT-B-16-quickgelu/metaclip_fullcc", 512, 224, NON_COMMERCIAL, f"{_V}base_patch16_clip_224.metaclip_2pt5b"),
    _clip("metaclip-l14", "ViT-L-14-quickgelu/metaclip_fullcc", 768, 224, NON_COMMERCIAL, f"{_V}large_patch14_clip_224.metaclip_2pt5b"),
    _clip("metaclip-h14", "ViT-H-14-quickgelu/metaclip_fullcc", 1024, 224, NON_COMMERCIAL, f"{_V}huge_patch14_clip_224.metaclip_2pt5b"),
    _clip("metaclip-bigg14", "ViT-bigG-14-quickgelu/metaclip_fullcc", 1280, 224, NON_COMMERCIAL, f"{_V}gigantic_patch14_clip_224.metaclip_2pt5b"),
    _clip("metaclip-1.2", "ViT-H-14/metaclip_altogether", 1024, 224, NON_COMMERCIAL, f"{_V}huge_patch14_clip_224.metaclip_altogether", "MetaCLIP 1.2; GELU, unlike version 1"),
    _clip("metaclip-2", f"ViT-H-14-worldwide-quickgelu/{_METACLIP2}", 1024, 224, NON_COMMERCIAL, f"{_V}huge_patch14_clip_224.metaclip2_worldwide", _XLM_V),
    _clip("metaclip-2-378", f"ViT-H-14-worldwide-378/{_METACLIP2}", 1024, 378, NON_COMMERCIAL, f"{_V}huge_patch14_clip_378.metaclip2_worldwide", _XLM_V),
    _clip("metaclip-2-bigg14", f"ViT-bigG-14-worldwide/{_METACLIP2}", 1280, 224, NON_COMMERCIAL, f"{_V}gigantic_patch14_clip_224.metaclip2_worldwide", _XLM_V),
    _clip("metaclip-2-bigg14-378", f"ViT-bigG-14-worldwide-378/{_METACLIP2}", 1280, 378, NON_COMMERCIAL, f"{_V}gigantic_patch14_clip_378.metaclip2_worldwide", _XLM_V),
    # OpenAI CLIP
    _clip("openai-b32", "ViT-B-32-quickgelu/openai", 512, 224, "MIT", f"{_V}base_patch32_clip_224.openai"),
    _clip("openai-b16", "ViT-B-16-quickgelu/openai", 512, 224, "MIT", f"{_V}base_patch16_clip_224.openai"),
    _clip("openai-l14", "ViT-L-14-quickgelu/openai", 768, 224, "MIT", f"{_V}large_patch14_clip_224.openai"),
    _clip("openai-l14-336", "ViT-L-14-336-quickgelu/openai", 768, 336, "MIT", f"{_V}large_patch14_clip_336.openai"),
    # EVA-02-CLIP
    _clip("eva02-b16", "EVA02-B-16/merged2b_s8b_b131k", 512, 224, "MIT", "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k"),
    _clip("eva02-l14", "EVA02-L-14/merged2b_s4b_b131k", 768, 224, "MIT", "timm/eva02_large_patch14_clip_224.merged2b_s4b_b131k"),
    _clip("eva02-l14-336", "EVA02-L-14-336/merged2b_s6b_b61k", 768, 336, "MIT", "timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k"),
    _clip("eva02-e14-plus", "EVA02-E-14-plus/laion2b_s9b_b144k", 1024, 224, "MIT", "timm/eva02_enormous_patch14_plus_clip_224.laion2b_s9b_b144k", "5 billion parameters"),
    # SigLIP 2
    _clip("siglip2-b32", "ViT-B-32-SigLIP2-256/webli", 768, 256, "Apache-2.0", "timm/ViT-B-32-SigLIP2-256", _SIGLIP),
    _clip("siglip2-b16", "ViT-B-16-SigLIP2/webli", 768, 224, "Apache-2.0", "timm/ViT-B-16-SigLIP2", _SIGLIP),
    _clip("siglip2-b16-384", "ViT-B-16-SigLIP2-384/webli", 768, 384, "Apache-2.0", "timm/ViT-B-16-SigLIP2-384", _SIGLIP),
    _clip("siglip2-l16-384", "ViT-L-16-SigLIP2-384/webli", 1024, 384, "Apache-2.0", "timm/ViT-L-16-SigLIP2-384", _SIGLIP),
    _clip("siglip2-so400m", "ViT-SO400M-14-SigLIP2-378/webli", 1152, 378, "Apache-2.0", "timm/ViT-SO400M-14-SigLIP2-378", _SIGLIP),
    _clip("siglip2-gopt", "ViT-gopt-16-SigLIP2-384/webli", 1536, 384, "Apache-2.0", "timm/ViT-gopt-16-SigLIP2-384", _SIGLIP),
    # DFN
    _clip("dfn-b16", "ViT-B-16-quickgelu/dfn2b", 512, 224, APPLE, "apple/DFN2B-CLIP-ViT-B-16"),
    _clip("dfn-l14", "ViT-L-14/dfn2b_s39b", 768, 224, APPLE, "apple/DFN2B-CLIP-ViT-L-14-39B", "GELU, unlike its siblings"),
    _clip("dfn-h14", "ViT-H-14-quickgelu/dfn5b", 1024, 224, APPLE, "apple/DFN5B-CLIP-ViT-H-14"),
    _clip("dfn-h14-378", "ViT-H-14-378-quickgelu/dfn5b", 1024, 378, APPLE, "apple/DFN5B-CLIP-ViT-H-14-378"),
    # Perception Encoder
    _clip("pe-b16", "PE-Core-B-16/meta", 1024, 224, "Apache-2.0", "timm/PE-Core-B-16", _SHORT),
    _clip("pe-l14", "PE-Core-L-14-336/meta", 1024, 336, "Apache-2.0", "timm/PE-Core-L-14-336", _SHORT),
    _clip("pe-bigg14", "PE-Core-bigG-14-448/meta", 1280, 448, "Apache-2.0", "timm/PE-Core-bigG-14-448", "reads 72 tokens of a text"),
    # MobileCLIP 2
    _clip("mobileclip2-s0", "MobileCLIP2-S0/dfndr2b", 512, 256, APPLE, "timm/MobileCLIP2-S0-OpenCLIP"),
    _clip("mobileclip2-s2", "MobileCLIP2-S2/dfndr2b", 512, 256, APPLE, "timm/MobileCLIP2-S2-OpenCLIP"),
    _clip("mobileclip2-b", "MobileCLIP2-B/dfndr2b", 512, 224, APPLE, "timm/MobileCLIP2-B-OpenCLIP"),
    _clip("mobileclip2-s3", "MobileCLIP2-S3/dfndr2b", 768, 256, APPLE, "timm/MobileCLIP2-S3-OpenCLIP"),
    _clip("mobileclip2-s4", "MobileCLIP2-S4/dfndr2b", 768, 256, APPLE, "timm/MobileCLIP2-S4-OpenCLIP"),
    _clip("mobileclip2-l14", "MobileCLIP2-L-14/dfndr2b", 768, 224, APPLE, "timm/MobileCLIP2-L-14-OpenCLIP"),
    # Jina CLIP v2
    Preset(
        name="jina-clip-v2",
        spec="transformers:jinaai/jina-clip-v2",
        dim=1024,
        px=512,
        licence=NON_COMMERCIAL,
        source=HUB + "jinaai/jina-clip-v2",
        notes="Matryoshka: dim=64 to 1024; its code lies in jinaai/jina-clip-implementation and, as of transformers "
        "5.23, does not import (clip_loss is gone); queries get the instruction of retrieval.query",
        remote_code=True,
    ),
    # Long-CLIP: the authors' own checkpoint needs their own code; this fine-tune has transformers' form.
    Preset(
        name="longclip-l14",
        spec="transformers:zer0int/LongCLIP-GmP-ViT-L-14",
        dim=768,
        px=224,
        licence="see its model card",
        source=HUB + "zer0int/LongCLIP-GmP-ViT-L-14",
        notes="reads 248 tokens; a fine-tune of Long-CLIP-L. If its config.json says 77 positions, copy it to a "
        "folder and set text_config.max_position_embeddings to 248",
    ),
)  # fmt: skip

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ROWS})
"""The presets by name; `Encoder.load(name)` takes them."""
