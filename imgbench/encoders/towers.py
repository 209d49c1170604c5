"""Open_clip's causal text towers, computing every beginning that texts share once.

In a causal tower a token sees only what stands before it, so "a dog runs" and "a dog sleeps" have the same
values up to "dog". A batch is computed as its distinct beginnings, without any padding; only attention, a
twentieth of the work, looks at whole texts. The values are those of `encode_text` up to the order of
additions.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from imgbench.encoders.texts import Shortcut, Tokens


@dataclass(frozen=True)
class CausalTower:
    """A text tower whose tokens see only what stands before them, with its vector at the end token."""

    tower: Any  # open_clip's CLIP or TextTransformer
    pool: str
    end: int
    step: int = 8  # tokens: most beginnings still meet in one batch, and attention has little padding

    def lengths(self, tokens: Tokens) -> Any:
        """(text,) places up to the end, which open_clip's text_global_pool finds likewise."""
        text = tokens["text"]
        return (text if self.pool == "argmax" else (text == self.end).int()).argmax(dim=-1) + 1

    def rows(self, tokens: Tokens) -> Any:
        """(text, dim) rows as `encode_text` computes them."""
        return _rows(self.tower, tokens["text"], self.lengths(tokens))


def shortcut(model: Any) -> Shortcut | None:
    """The shortcut of an open_clip model; None where padding may matter or the tower is not open_clip's own.

    Wanted are open_clip's classes and standard blocks, a causal mask, and the vector at the end token.
    """
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import TextTransformer

    text: Any = getattr(model, "text", None)
    kind: type = type(model)
    if kind is CLIP:
        found = CausalTower(model, model.text_pool_type, model.text_eos_id)
    elif kind is CustomTextCLIP and type(text) is TextTransformer:
        found = CausalTower(text, text.pool_type, text.eos_id)
    else:
        return None
    if found.pool not in {"argmax", "eos"} or not _causal(found.tower) or not _standard(found.tower):
        return None
    from imgbench.encoders.packed import changed

    called = [model, found.tower, *found.tower.transformer.modules()]
    return None if any(changed(each) or "encode_text" in vars(each) for each in called) else found


def _causal(tower: Any) -> bool:
    import torch

    mask, positions = tower.attn_mask, tower.positional_embedding
    if not torch.is_tensor(mask) or mask.shape != (len(positions), len(positions)):
        return False
    if getattr(tower, "cls_emb", None) is not None or getattr(tower, "output_tokens", False):
        return False
    wanted = torch.full_like(mask, float("-inf")).triu(1)
    return bool((mask == wanted).all())


def _standard(tower: Any) -> bool:
    from open_clip.transformer import ResidualAttentionBlock, Transformer

    blocks: Any = getattr(tower.transformer, "resblocks", ())
    return type(tower.transformer) is Transformer and all(
        type(block) is ResidualAttentionBlock and _known(block.attn) for block in blocks
    )


def _known(attention: Any) -> bool:
    kind = f"{type(attention).__module__}.{type(attention).__qualname__}"
    if kind == "imgbench.encoders.packed.PackedAttention":  # made from what is known only
        return True
    if kind != "torch.nn.modules.activation.MultiheadAttention" or attention.in_proj_weight is None:
        return False
    return attention.bias_k is None and not attention.add_zero_attn


def beginnings(
    ids: Int64[np.ndarray, "text token"], lengths: Int64[np.ndarray, "text"]
) -> tuple[Int64[np.ndarray, "text token"], Int64[np.ndarray, "beginning"]]:
    """The number of the beginning that ends at each token, and where each beginning stands first (row-major).

    Neighbours share what they begin with; what follows a text's length has the number of some beginning.

    >>> numbers, first = beginnings(np.array([[7, 1, 9], [7, 1, 2], [7, 9, 0]]), np.array([3, 3, 2]))
    >>> numbers.tolist(), first.tolist()
    ([[0, 1, 2], [0, 1, 3], [0, 4, 3]], [0, 1, 2, 5, 7])
    """
    places = np.arange(ids.shape[1])
    shared = (ids[1:] == ids[:-1]).cumprod(axis=1).sum(axis=1)
    shared = np.concatenate([[0], np.minimum(shared, lengths[:-1])])
    new = (places >= shared[:, None]) & (places < lengths[:, None])
    numbers = np.where(new, new.cumsum().reshape(new.shape) - 1, 0)
    return np.maximum.accumulate(numbers, axis=0), np.flatnonzero(new)


def _rows(tower: Any, ids: Any, lengths: Any) -> Any:
    """(text, dim) rows, as `encode_text` of open_clip computes them."""
    import torch

    device, width = tower.positional_embedding.device, ids.shape[1]
    numbers, first = (torch.from_numpy(part) for part in beginnings(ids.numpy(), lengths.numpy()))
    ends = torch.arange(len(ids)) * width + lengths - 1
    kind = tower.transformer.get_cast_dtype()
    with torch.inference_mode():
        x = tower.token_embedding(ids.flatten()[first].to(device)).to(kind)
        x = x + tower.positional_embedding.to(kind)[(first % width).to(device)]
        numbers, first, ends = numbers.to(device), first.to(device), ends.to(device)
        blocks = list(tower.transformer.resblocks)
        for block in blocks[:-1]:
            x = _block(block, x, numbers, first)
        x = tower.ln_final(_block(blocks[-1], x, numbers, ends))
        projection = tower.text_projection
        if projection is None:
            return x.float()
        return (projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection).float()


def _block(block: Any, x: Any, numbers: Any, wanted: Any) -> Any:
    """One block of the tower: values of all beginnings in, those at the wanted places (row-major) out."""
    from torch.nn.functional import linear, scaled_dot_product_attention

    attention = block.attn
    x_1 = block.ln_1(x)
    if hasattr(attention, "in_proj"):  # packed
        projected = attention.in_proj(x_1)
    else:
        projected = linear(x_1, attention.in_proj_weight, attention.in_proj_bias)
    texts, width = numbers.shape
    heads = projected[numbers.flatten()].view(texts, width, 3, attention.num_heads, attention.head_dim)
    query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (text, head, token, head_dim)
    seen = scaled_dot_product_attention(query, key, value, is_causal=True)
    seen = seen.transpose(1, 2).reshape(texts * width, -1)[wanted]
    x = x[numbers.flatten()[wanted]] + block.ls_1(attention.out_proj(seen))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
