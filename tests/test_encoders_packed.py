"""Packed layers give what the layers give, and the model that came is not touched."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from imgbench.encoders import packed as module
from imgbench.encoders.packed import PackedAttention, PackedLinear, packed

TOWER = {"layers": 2, "width": 64, "patch_size": 8}
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def clip(kind: torch.dtype = torch.float32) -> nn.Module:
    text = {"context_length": 12, "vocab_size": 50, "width": 64, "heads": 2, "layers": 2}
    vision = {**TOWER, "image_size": 16, "head_width": 32}
    return open_clip.model.CLIP(32, vision, text).eval().to(kind).requires_grad_(requires_grad=False)


def kinds(model: nn.Module) -> set[type]:
    return {type(each) for each in model.modules()}


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_a_layer_gives_its_products_for_inputs_of_any_shape(kind: torch.dtype, *, bias: bool) -> None:
    layer = nn.Linear(24, 40, bias=bias).to(kind)
    twin = PackedLinear(layer)
    for shape in [(24,), (1, 24), (7, 24), (3, 5, 24), (2, 3, 5, 24), (0, 24)]:
        x = torch.randn(shape).to(kind)
        assert twin(x).shape == layer(x).shape
        assert torch.allclose(twin(x), layer(x), atol=TOLERANCE[kind])
    apart = torch.randn(24, 6).to(kind).t()  # not contiguous
    assert torch.allclose(twin(apart), layer(apart), atol=TOLERANCE[kind])


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("mask", ["none", "added", "forbidden"])
@torch.inference_mode()
def test_attention_is_that_of_torch(kind: torch.dtype, mask: str, *, batch_first: bool) -> None:
    plain = nn.MultiheadAttention(32, 4, batch_first=batch_first).eval().to(kind)
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    added = torch.zeros(6, 6).masked_fill(later, float("-inf")).to(kind)
    asked = {"none": None, "added": added, "forbidden": later}[mask]
    x = torch.randn((3, 6, 32) if batch_first else (6, 3, 32)).to(kind)
    found, weights = PackedAttention(plain)(x, x, x, need_weights=False, attn_mask=asked)
    assert weights is None
    assert torch.allclose(found, plain(x, x, x, need_weights=False, attn_mask=asked)[0], atol=TOLERANCE[kind])


@torch.inference_mode()
def test_attention_to_something_else_or_with_weights_is_left_to_torch() -> None:
    plain = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    x, other = torch.randn(2, 3, 6, 32)
    twin = PackedAttention(plain)
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[:, 4:] = True
    each = torch.zeros(12, 6, 6).masked_fill(torch.rand(12, 6, 6) > 0.8, -1.0)
    for asked, options in [
        ((x, other, other), {"need_weights": False}),
        ((x, x, x), {}),
        ((x, x, x), {"need_weights": False, "key_padding_mask": padding}),
        ((x, x, x), {"need_weights": False, "attn_mask": each}),
    ]:
        ours, theirs = twin(*asked, **options), plain(*asked, **options)
        assert torch.equal(ours[0], theirs[0])
        assert (ours[1] is None) == (theirs[1] is None)


@pytest.mark.parametrize("kind", TOLERANCE)
@torch.inference_mode()
def test_an_open_clip_model_encodes_as_before(kind: torch.dtype) -> None:
    model = clip(kind)
    twin = packed(model)
    assert {PackedLinear, PackedAttention} <= kinds(twin)
    pixels, tokens = torch.randn(3, 3, 16, 16).to(kind), torch.randint(1, 49, (3, 12))
    for ours, theirs in [
        (twin.encode_image(pixels), model.encode_image(pixels)),
        (twin.encode_text(tokens), model.encode_text(tokens)),
    ]:
        apart = nn.functional.normalize(ours.float()) - nn.functional.normalize(theirs.float())
        assert apart.abs().max() < TOLERANCE[kind]


def test_the_model_that_came_keeps_its_layers_its_weights_and_its_results() -> None:
    model = clip()
    before, state = kinds(model), copy.deepcopy(model.state_dict())
    pixels = torch.randn(2, 3, 16, 16)
    expected = model.encode_image(pixels)
    twin = packed(model)
    assert kinds(model) == before
    assert PackedLinear not in before
    assert torch.equal(model.encode_image(pixels), expected)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    shared = {id(each) for each in model.parameters()}
    assert {id(each) for each in twin.parameters()} <= shared


def test_no_random_number_is_drawn() -> None:
    model, before = clip(), torch.get_rng_state()
    module._works.cache_clear()
    packed(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_that_stands_in_two_places_is_packed_once() -> None:
    layer = nn.Linear(4, 4)
    twin = packed(nn.ModuleDict({"a": nn.Sequential(layer), "b": layer}).requires_grad_(requires_grad=False))
    assert twin["a"][0] is twin["b"]
    assert type(twin["b"]) is PackedLinear


def test_what_cannot_be_packed_stays_as_it_is() -> None:
    half = nn.Sequential(nn.Linear(4, 4).half())
    assert type(packed(half)[0]) is nn.Linear
    hooked = nn.Sequential(nn.Linear(4, 4))
    hooked[0].register_forward_pre_hook(lambda *_: None)
    assert type(packed(hooked)[0]) is nn.Linear
    encoder = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16))
    assert packed(encoder)[0] is encoder[0]
    apart = nn.Sequential(nn.MultiheadAttention(8, 2, kdim=4, vdim=4))
    assert type(packed(apart)[0]) is nn.MultiheadAttention


@torch.inference_mode()
def test_a_layer_or_attention_whose_forward_was_replaced_is_left_alone() -> None:
    model = clip()
    for place in (model.visual.transformer.resblocks[0].mlp.c_fc, model.transformer.resblocks[1].attn):
        plain = place.forward
        place.forward = lambda *given, plain=plain, **more: _doubled(plain(*given, **more))
    twin = packed(model)
    pixels, tokens = torch.randn(3, 3, 16, 16), torch.randint(1, 49, (3, 12))
    assert torch.allclose(twin.encode_image(pixels), model.encode_image(pixels), atol=1e-5)
    assert torch.allclose(twin.encode_text(tokens), model.encode_text(tokens), atol=1e-5)


def _doubled(found: Any) -> Any:
    return (2 * found[0], *found[1:]) if isinstance(found, tuple) else 2 * found


def test_weights_that_change_in_place_or_are_replaced_are_laid_out_anew() -> None:
    model, other = clip(), clip()
    twin, pixels = packed(model), torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert not torch.allclose(model.encode_image(pixels), other.encode_image(pixels), atol=1e-3)
        twin.encode_image(pixels)
        model.load_state_dict(other.state_dict())
        assert torch.allclose(twin.encode_image(pixels), other.encode_image(pixels), atol=1e-6)
        layer = model.visual.transformer.resblocks[0].mlp.c_fc
        layer.weight = nn.Parameter(torch.randn_like(layer.weight), requires_grad=False)
        assert torch.allclose(twin.encode_image(pixels), model.encode_image(pixels), atol=1e-5)


@torch.inference_mode()
def test_a_twin_can_be_copied_and_pickled() -> None:
    twin, pixels = packed(clip()), torch.randn(2, 3, 16, 16)
    for same in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):  # noqa: S301  our own bytes
        assert PackedLinear in kinds(same)
        assert torch.equal(same.encode_image(pixels), twin.encode_image(pixels))


@torch.inference_mode()
def test_another_type_of_input_or_autocast_goes_the_plain_way() -> None:
    layer, x = nn.Linear(16, 4), torch.randn(2, 16)
    twin = PackedLinear(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert twin(x).dtype == torch.bfloat16
        assert torch.equal(twin(x), layer(x))
    with pytest.raises(RuntimeError, match="same dtype"):
        twin(x.bfloat16())


def test_layers_with_parametrisations_and_compiled_parts_stay() -> None:
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    assert packed(normed)[0] is normed[0]
    whole = nn.Sequential(torch.compile(nn.Sequential(nn.Linear(4, 4))), nn.Linear(4, 4))
    assert type(packed(whole)[1]) is PackedLinear


def test_code_that_reads_attentions_weights_finds_them() -> None:
    plain = nn.MultiheadAttention(32, 4)
    twin = PackedAttention(plain)
    assert twin.in_proj_weight is plain.in_proj_weight
    assert twin.embed_dim == 32
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = twin.nothing


def test_without_the_operators_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

    monkeypatch.setattr(module, "_NAMESPACE", Absent())
    module._works.cache_clear()
    assert kinds(packed(clip())) == kinds(clip())
    module._works.cache_clear()
