"""The presets against the registries that they name, without a network."""

from __future__ import annotations

import pytest

from imgbench.encoders import presets
from imgbench.encoders.activation import check_tag
from imgbench.encoders.base import Encoder
from imgbench.encoders.families import FAMILIES
from imgbench.errors import InputError

OPEN_CLIP = [preset for preset in presets.table() if preset.spec.startswith("open_clip:")]


@pytest.mark.parametrize("preset", OPEN_CLIP, ids=lambda preset: preset.name)
def test_an_open_clip_preset_is_what_the_registry_says(preset: presets.Preset) -> None:
    import open_clip

    name, _, tag = preset.spec.removeprefix("open_clip:").partition("/")
    config = open_clip.get_model_config(name)
    assert config is not None
    assert open_clip.pretrained.is_pretrained_cfg(name, tag)
    check_tag(name, tag)
    registered = open_clip.get_pretrained_cfg(name, tag)
    assert (preset.dim, preset.px) == (config["embed_dim"], config["vision_cfg"]["image_size"])
    assert preset.source == presets.HUB + registered["hf_hub"].rstrip("/")
    assert ("tokenizer" in preset.notes) == ("hf_tokenizer_name" in config["text_cfg"])


def test_the_table_is_complete_and_frozen() -> None:
    table = presets.table()
    assert len({preset.name for preset in table}) == len({preset.spec for preset in table}) == len(table)
    assert all(preset.licence and preset.source.startswith("https://") for preset in table)
    assert {preset.spec.partition(":")[0] for preset in table} <= set(FAMILIES)
    assert not {preset.name for preset in table} & set(FAMILIES)
    for word in (
        "metaclip-b32",
        "metaclip-1.2",
        "metaclip-2",
        "jina",
        "openai",
        "eva",
        "siglip2",
        "dfn",
        "pe-",
        "mobileclip2",
        "longclip",
    ):
        assert any(preset.name.startswith(word) for preset in table), word
    with pytest.raises(TypeError):
        presets.PRESETS["other"] = table[0]  # type: ignore[index]


def test_a_preset_is_loaded_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def loader(model: str, **options: object) -> Encoder:
        asked.append(model)
        raise InputError("a", "b", "c")

    monkeypatch.setattr("imgbench.encoders.open_clip.load", loader)
    with pytest.raises(InputError):
        Encoder.load("metaclip-1.2", device="cpu")
    assert asked == ["ViT-H-14/metaclip_altogether"]


@pytest.mark.parametrize("options", [{}, {"trust_remote_code": True}, {"revision": "0" * 40}])
def test_remote_code_needs_a_flag_and_a_commit(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="runs such code only with an explicit flag and a pinned commit"):
        Encoder.load("jina-clip-v2", device="cpu", **options)  # type: ignore[arg-type]


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"'metaclip-1\.3' is not an encoder.*Did you mean 'metaclip-1\.2'\?"
    ):
        Encoder.load("metaclip-1.3", device="cpu")
