"""Linear layers on a CPU by oneDNN, from weights laid out for it once.

Plain torch multiplies float32 matrices by MKL, which on AMD processors reaches half of what oneDNN does, and
lays bfloat16 weights out anew at every call. Here each weight is laid out once, by the operators that
`torch.compile` uses for frozen models, without its compilation. Products differ by the order of additions in
float32 and not at all in bfloat16 (measured). The laid-out copies take the linear layers' memory once more.
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.parametrize import is_parametrized

_NAMESPACE = torch.ops.mkldnn
_PRODUCT = "none", [], ""  # no function of the product: what follows it, with its numbers and its name


class PackedLinear(nn.Linear):
    """What the layer computes, whose parameters it shares: changed in place, they are laid out anew."""

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)  # nn.Linear's would make a weight of its own
        self.in_features, self.out_features = layer.in_features, layer.out_features
        vars(self)["_parameters"] = vars(layer)["_parameters"]  # also those that it is given later
        self._lay_out()

    def _lay_out(self) -> None:
        self._of = _state(self.weight)
        self._packed = _NAMESPACE._reorder_linear_weight(self.weight.detach())  # noqa: SLF001  torch's operators

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_packed": None}  # it can be neither copied nor pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lay_out()

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  its name in nn.Linear
        """(..., in_features) -> (..., out_features)."""
        if input.dtype != self.weight.dtype or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        if _state(self.weight) != self._of:
            self._lay_out()
        return _NAMESPACE._linear_pointwise(input, self._packed, self.bias, *_PRODUCT)  # noqa: SLF001


def _state(weight: torch.Tensor) -> tuple[object, ...]:
    """What changes when a weight does, unless by way of `.data`."""
    return weight.data_ptr(), weight.dtype, None if weight.is_inference() else weight._version  # noqa: SLF001


class PackedAttention(nn.Module):
    """Self-attention as nn.MultiheadAttention computes it; any other use goes to the module as it was."""

    def __init__(self, plain: nn.MultiheadAttention) -> None:
        super().__init__()
        self.plain = plain
        self.num_heads, self.head_dim, self.batch_first = plain.num_heads, plain.head_dim, plain.batch_first
        self.in_proj = PackedLinear(_layer(plain.in_proj_weight, plain.in_proj_bias))
        self.out_proj = PackedLinear(plain.out_proj)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("plain"), name)  # as code that reads the weights expects

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *others: Any, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(batch, token, dim), or (token, batch, dim) where not `batch_first`, and no weights."""
        mask = options.get("attn_mask")
        rest = {name for name, value in options.items() if value is not None} - {"attn_mask", "need_weights"}
        alike = query is key and key is value and query.dim() == 3  # noqa: PLR2004  with a batch
        if others or rest or not alike or options.get("need_weights", True) or _own(mask):
            return self.plain(query, key, value, *others, **options)
        x = query if self.batch_first else query.transpose(0, 1)
        texts, tokens, dim = x.shape
        heads = self.in_proj(x).view(texts, tokens, 3, self.num_heads, self.head_dim)
        seen = scaled_dot_product_attention(*heads.permute(2, 0, 3, 1, 4), attn_mask=_additive(mask, x))
        found = self.out_proj(seen.transpose(1, 2).reshape(texts, tokens, dim))
        return found if self.batch_first else found.transpose(0, 1), None


def packed(model: nn.Module) -> nn.Module:
    """The model with its linear layers packed, as a twin that shares its weights: `model` does not change.

    The model itself where that brings nothing or is not possible: on another device, in a precision other
    than float32 and bfloat16, and if it was compiled or scripted. It is to be used for inference only.

    >>> layers = nn.Sequential(nn.Linear(8, 4), nn.GELU())
    >>> twin = packed(layers.requires_grad_(False))
    >>> x = torch.randn(2, 8)
    >>> bool((twin(x) - layers(x)).abs().max() < 1e-6), type(layers[0]).__name__
    (True, 'Linear')
    """
    if any(isinstance(each, torch.jit.ScriptModule) for each in model.modules()):
        return model
    return _twin(model, {})


def _twin(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    if id(module) not in made:
        made[id(module)] = _replaced(module) or _with_twins(module, made)
    return made[id(module)]


def _with_twins(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    children: dict[str, nn.Module | None] = vars(module)["_modules"]
    if not children or isinstance(module, nn.TransformerEncoderLayer) or is_parametrized(module):
        return module  # the former reads the weights of its attention by itself, the latter computes its own
    twin = copy.copy(module)  # shares everything but its children
    vars(twin)["_modules"] = {
        name: None if child is None else _twin(child, made) for name, child in children.items()
    }
    return twin


def _replaced(module: nn.Module) -> nn.Module | None:
    if changed(module):
        return None
    if type(module) is nn.Linear and _fits(module.weight):
        return PackedLinear(module)
    if type(module) is nn.MultiheadAttention and _plain_attention(module):
        return PackedAttention(module)
    return None


def changed(module: nn.Module) -> bool:
    """Whether calling the module does more than its class says: hooks, or a `forward` of its own."""
    own = vars(module)
    return bool("forward" in own or own["_forward_hooks"] or own["_forward_pre_hooks"])


def _fits(weight: torch.Tensor) -> bool:
    kinds = {torch.float32, torch.bfloat16}
    if type(weight) not in {nn.Parameter, torch.Tensor}:  # one that is stored in another form
        return False
    on_cpu = weight.device.type == "cpu" and weight.dtype in kinds
    return on_cpu and weight.numel() > 0 and _works(weight.dtype)


def _plain_attention(module: nn.MultiheadAttention) -> bool:
    weight = vars(module)["_parameters"].get("in_proj_weight")  # None where query, key and value differ
    own = module.bias_k is not None or module.add_zero_attn or changed(module.out_proj)
    return weight is not None and _fits(weight) and not own


def _layer(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """A linear layer of parameters that exist."""
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    return layer


def _own(mask: torch.Tensor | None) -> bool:
    """Whether the mask is another one for each head or text."""
    return mask is not None and mask.dim() != 2  # noqa: PLR2004


def _additive(mask: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor | None:
    # True means "may not look" to nn.MultiheadAttention, and "may look" to scaled_dot_product_attention.
    return None if mask is None else ~mask if mask.dtype == torch.bool else mask.to(x.dtype)


@functools.cache
def _works(kind: torch.dtype) -> bool:
    """Whether this torch and this processor have the operators, and they give what is right."""
    if not torch.backends.mkldnn.is_available():
        return False
    layer = _layer(nn.Parameter(torch.eye(4, dtype=kind)[:2], requires_grad=False), None)
    x = torch.arange(12.0, dtype=kind).view(3, 4)
    try:
        return torch.equal(PackedLinear(layer)(x), x[:, :2])
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return False
