"""Texts without their padding: the vectors are those of the model's own code at full length, always."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP

from imgbench.encoders import texts as module
from imgbench.encoders.open_clip import OpenClipEncoder
from imgbench.encoders.texts import batches
from imgbench.encoders.towers import CausalTower, beginnings
from imgbench.errors import InputError

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3}
CAPTIONS = [
    "a red car",
    "a red car parked beside a blue lake",
    "A RED CAR",
    "a red car",
    "two dogs run over the snow",
    "two dogs run over the wet snow after a ball",
    "ship",
    "a man in a yellow jacket rides a bicycle down a steep road in front of many people who watch from afar",
    "!",
    "! ! !",
]


def model(
    kind: Callable[..., torch.nn.Module] = CLIP, options: dict[str, Any] | None = None, **text: Any
) -> Any:
    torch.manual_seed(0)
    made = kind(embed_dim=24, vision_cfg=dict(VISION), text_cfg={**TEXT, **text}, **(options or {}))
    # A fresh tower hardly looks at its other tokens: larger weights let every test fail that should.
    for name, weight in made.named_parameters():
        if "attn" in name or "embedding" in name:
            torch.nn.init.normal_(weight, std=0.4)
    return made.eval()


def words(**options: Any) -> Any:
    return open_clip.SimpleTokenizer(context_length=20, **options)


def encoder(made: torch.nn.Module, tokenizer: Any = None, **options: Any) -> OpenClipEncoder:
    return OpenClipEncoder.from_parts(made, torch.Tensor, tokenizer or words(), name="tiny", **options)


@torch.no_grad()
def plainly(made: Any, texts: list[str], tokenizer: Any = None) -> np.ndarray:
    rows = made.encode_text((tokenizer or words())(texts)).float()
    return torch.nn.functional.normalize(rows, dim=-1).numpy()


CAUSAL = {
    "CLIP": model,
    "end token": lambda: model(pool_type="eos", eos_id=49407),
    "text tower": lambda: model(CustomTextCLIP),
    "biased projection": lambda: model(CustomTextCLIP, proj_type="linear", proj_bias=True),
    "no projection": lambda: model(CustomTextCLIP, proj_type="none", width=24, heads=4),
    "layer scale": lambda: model(ls_init_value=0.5),
    "QuickGELU": lambda: model(options={"quick_gelu": True}),
}
PADDING_MATTERS = {
    "not causal": lambda: model(CustomTextCLIP, no_causal_mask=True),
    "like SigLIP": lambda: model(CustomTextCLIP, no_causal_mask=True, pool_type="last", proj_bias=True),
    "pooled at the last place": lambda: model(pool_type="last"),
    "CoCa": lambda: model(
        CoCa,
        {"multimodal_cfg": {"context_length": 20, "width": 32, "heads": 4, "layers": 1}},
        embed_cls=True,
        output_tokens=True,
    ),
    "blocks of another kind": lambda: model(CustomTextCLIP, scale_heads=True),
}


@pytest.mark.parametrize("kind", sorted(CAUSAL))
def test_causal_towers_give_what_the_plain_loop_gives(kind: str) -> None:
    made = CAUSAL[kind]()
    short = encoder(made)
    assert isinstance(short._shortcut, CausalTower)
    np.testing.assert_allclose(short.encode_texts(CAPTIONS), plainly(made, CAPTIONS), atol=1e-5)
    spread = plainly(made, CAPTIONS)
    assert (spread @ spread.T)[0, 4] < 0.99


@pytest.mark.parametrize("kind", sorted(PADDING_MATTERS))
def test_where_padding_matters_every_row_keeps_its_length(kind: str) -> None:
    made = PADDING_MATTERS[kind]()
    whole = encoder(made)
    assert whole._shortcut is None
    np.testing.assert_allclose(whole.encode_texts(CAPTIONS), plainly(made, CAPTIONS), atol=1e-5)


def test_every_length_from_one_word_to_more_than_fit() -> None:
    made = model()
    texts = [" ".join(["two", "dogs", "run"] * 9)[: 4 * length] + " x" for length in range(1, 26)]
    lengths = {int(row.argmax()) for row in words()(texts)}
    assert lengths >= set(range(3, 20))  # the end token stands at every place up to the last
    short = encoder(made)
    np.testing.assert_allclose(short.encode_texts(texts), plainly(made, texts), atol=1e-5)
    for text in texts:
        np.testing.assert_allclose(short.encode_texts([text]), plainly(made, [text]), atol=1e-5)


def test_an_end_token_inside_a_text_is_its_end() -> None:
    made = model()
    texts = ["a red <end_of_text> car", "a red", "<start_of_text> a red car"]
    np.testing.assert_allclose(encoder(made).encode_texts(texts), plainly(made, texts), atol=1e-5)


@pytest.mark.parametrize("window", [3, 16_384])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_rows_follow_their_texts(batch_size: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", window)
    made = model()
    short = encoder(made, batch_size=batch_size)
    wanted = plainly(made, CAPTIONS)
    for order in [range(10), range(9, -1, -1), *np.random.default_rng(0).permuted([range(10)] * 8, axis=1)]:
        found = short.encode_texts([CAPTIONS[row] for row in order])
        np.testing.assert_allclose(found, wanted[list(order)], atol=1e-5)


def test_the_order_of_the_texts_changes_no_bit() -> None:
    short = encoder(model())
    found = short.encode_texts(CAPTIONS)
    np.testing.assert_array_equal(short.encode_texts(CAPTIONS[::-1])[::-1], found)


@pytest.mark.parametrize("kind", ["CLIP", "not causal"])
def test_each_distinct_row_is_encoded_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = encoder({**CAUSAL, **PADDING_MATTERS}[kind]())
    seen: list[list[int]] = []
    hooked = short._shortcut if kind == "CLIP" else short
    name = "rows" if kind == "CLIP" else "_plain"
    encode = getattr(type(hooked), name)

    def counted(self: Any, tokens: dict[str, Any]) -> Any:
        seen.extend(tokens["text"].tolist())
        return encode(self, tokens)

    monkeypatch.setattr(type(hooked), name, counted)
    texts = ["a dog", "A  DOG", "a dog", "ship", "a dog "]
    rows = short.encode_texts(texts)
    assert len(seen) == 2
    np.testing.assert_array_equal(rows[[0, 0, 0]], rows[[1, 2, 4]])


def test_the_bar_counts_every_text(capsys: pytest.CaptureFixture[str]) -> None:
    encoder(model()).encode_texts(["a dog"] * 7 + ["ship"], progress=True)
    assert "8/8" in capsys.readouterr().err


def test_a_tower_that_only_claims_to_be_causal_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    blocks = made.transformer
    # Everything about it looks causal, but its blocks see all tokens.
    monkeypatch.setattr(blocks, "forward", lambda x, attn_mask: type(blocks).forward(blocks, x))
    found = encoder(made)
    assert found._shortcut is None
    np.testing.assert_allclose(found.encode_texts(CAPTIONS), plainly(made, CAPTIONS), atol=1e-5)


def test_an_own_way_of_encoding_is_kept() -> None:
    class Twice(CLIP):
        def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor:
            return super().encode_text(text.roll(1, dims=1), normalize)

    derived = model(Twice)
    replaced = model()
    replaced.encode_text = derived.encode_text
    for made in (derived, replaced):
        found = encoder(made)
        assert found._shortcut is None
        np.testing.assert_allclose(found.encode_texts(CAPTIONS), plainly(made, CAPTIONS), atol=1e-5)


def test_the_model_is_left_as_it_is() -> None:
    made = model()
    before = {
        name: value.clone() for name, value in itertools.chain(made.named_parameters(), made.named_buffers())
    }
    wanted = plainly(made, CAPTIONS)
    encoder(made).encode_texts(CAPTIONS)
    after = dict(itertools.chain(made.named_parameters(), made.named_buffers()))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    np.testing.assert_array_equal(plainly(made, CAPTIONS), wanted)


def test_in_bf16_the_shortcut_stays_within_its_rounding() -> None:
    made = model()
    full = plainly(made, CAPTIONS)
    half = encoder(made, precision="bf16")
    assert isinstance(half._shortcut, CausalTower)
    plain = plainly(made, CAPTIONS)
    found = half.encode_texts(CAPTIONS)
    assert np.abs(found - full).max() < 1.5 * np.abs(plain - full).max() + 0.004
    assert np.abs(found - plain).max() < 0.03


def test_beginnings_are_counted_once() -> None:
    ids = words()(sorted(CAPTIONS)).numpy()
    lengths = ids.argmax(axis=1) + 1
    numbers, first = beginnings(ids, lengths)
    counted = {
        tuple(row[:end]) for row, length in zip(ids, lengths, strict=True) for end in range(1, length + 1)
    }
    standing = [tuple(ids[at // 20, : at % 20 + 1]) for at in first]
    for row, length in enumerate(lengths):
        for place in range(length):
            assert standing[numbers[row, place]] == tuple(ids[row, : place + 1])
    assert counted == set(standing)
    assert len(standing) < sum(lengths)


@pytest.mark.parametrize("step", [1, 8])
@pytest.mark.parametrize("budget", [1, 77, 2464])
def test_batches_hold_every_text_once_within_the_budget(budget: int, step: int) -> None:
    dice = np.random.default_rng(0)
    lengths = torch.from_numpy(dice.integers(2, 78, 500))
    ids = torch.from_numpy(dice.integers(1, 9, (500, 77))) * (torch.arange(77) < lengths[:, None])
    planned = list(batches({"text": ids}, lengths, budget=budget, step=step))
    assert sorted(itertools.chain(*(batch.texts.tolist() for batch in planned))) == list(range(500))
    classes = [-(-batch.width // step) for batch in planned]
    assert classes == sorted(classes, reverse=True)
    for batch in planned:
        assert len(batch.rows) == 1 or len(batch.rows) * batch.width <= budget
        assert (ids[batch.rows[batch.which]] == ids[batch.texts]).all()
        assert batch.width == lengths[batch.rows].max()
        padded = (-(-lengths[batch.rows] // step) * step).clamp(max=77)
        assert 8 * len(batch.rows) * int(padded.max()) <= 9 * int(padded.sum())


def test_no_texts_make_no_batches() -> None:
    assert list(batches({"text": torch.zeros((0, 5), dtype=torch.long)}, None, budget=9)) == []


def _louder(_: Any, __: Any, found: torch.Tensor) -> torch.Tensor:
    found = found.clone()
    found[:, 9:] *= 1.7
    return found


@pytest.mark.parametrize("kind", ["hook", "forward"])
def test_what_was_put_on_a_block_counts(kind: str) -> None:
    made = model()
    block: Any = made.transformer.resblocks[0]
    if kind == "hook":
        block.register_forward_hook(_louder)
    else:
        plain = block.forward
        block.forward = lambda *given, **more: _louder(None, None, plain(*given, **more))
    texts = ["word", "word " * 40]
    assert np.abs(encoder(made).encode_texts(texts) - plainly(made, texts)).max() < 1e-5


def test_one_model_in_two_precisions_is_an_error_and_no_mixture() -> None:
    made = model()
    first = encoder(made)
    encoder(made, precision="bf16")
    with pytest.raises(InputError) as caught:
        first.encode_texts(["a"])
    assert str(caught.value) == (
        "The network of tiny was cast to torch.bfloat16 since. It encodes in fp32. "
        "Give each encoder a copy of the model (copy.deepcopy)."
    )
