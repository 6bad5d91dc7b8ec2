"""What a LoRA or LyCORIS file adds to a layer of a frozen network, as a branch beside it. W is the layer's weight, D
what is added to it at strength 1, and the branch gives D x.

    LoRA                D = alpha / r  B A                    Hu et al. 2021, arXiv 2106.09685, Section 4.1
    LoCon               the same, A a convolution; with a middle one, B M A (Yeh et al. 2023, arXiv 2309.14859)
    LoHa                D = alpha / r  (B1 A1) * (B2 A2)      Hyeon-Woo et al. 2022, arXiv 2108.06098
    LoKr                D = alpha / r  C (x) (B A)            Yeh et al. 2023, Section 3.1; (x) is Kronecker's product
    full                D as it is
    DoRA, of all these  D' = m (W + D) / |W + D| - W          Liu et al. 2024, arXiv 2402.09353, Eq. 5

A missing alpha counts as the rank. DoRA is between W and its own weight at strength 1, so strength s adds s D'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tensors = Mapping[str, Tensor]  # role (see `lora_names`) -> tensor
Shapes = Mapping[str, tuple[int, ...]]
OF_DORA = ("dora_scale", "magnitude")  # LyCORIS', of rows or columns; peft's, of rows
#: Roles whose tensors have a row for each row of D. A Kronecker product has none: its rows are taken of what it gives.
BY_ROW = {"up", "hada_w1_a", "hada_w2_a", "diff", "diff_b", "w_norm", "b_norm", *OF_DORA}
ALONG = {"alpha", *OF_DORA, "diff_b", "b_norm"}  # roles that say nothing of the size


def size(shapes: Shapes) -> tuple[int, int] | None:
    """(rows, numbers a row) of the weight that these tensors change; None where some are missing."""
    have = shapes.keys() - ALONG
    if have in ({"down", "up"}, {"down", "up", "mid"}):
        kernel = prod(shapes["mid"][2:]) if "mid" in shapes else 1
        return shapes["up"][0], prod(shapes["down"][1:]) * kernel
    if have == {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}:
        return shapes["hada_w1_a"][0], shapes["hada_w1_b"][1]
    if have == {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}:
        return shapes["hada_w1_a"][1], shapes["hada_w1_b"][1] * prod(shapes["hada_t1"][2:])
    if have in ({"diff"}, {"w_norm"}):
        (shape,) = (shapes[role] for role in have)
        return shape[0], prod(shape[1:])
    left, right = _factor(shapes, "w1"), _factor(shapes, "w2")
    if left and right and all(role.startswith("lokr_") for role in have):
        return left[0] * right[0], left[1] * right[1]
    return None


def _factor(shapes: Shapes, which: str) -> tuple[int, int] | None:
    whole, a, b = (shapes.get(f"lokr_{which}{end}") for end in ("", "_a", "_b"))
    if whole:
        return whole[0], prod(whole[1:])
    if not (a and b):
        return None
    core = shapes.get("lokr_t2") if which == "w2" else None
    return (a[1], b[1] * prod(core[2:])) if core else (a[0], prod(b[1:]))


def rank(shapes: Shapes) -> int | None:
    """r of these tensors; None for those that have none."""
    for role, axis in (("down", 0), ("hada_w1_b", 0), ("lokr_w1_b", 0), ("lokr_w2_b", 0)):
        if role in shapes:
            return shapes[role][axis]
    return None


Rows = Sequence[tuple[int, int]]  # (first, end), in the order in which they are to stand


def branch(tensors: Tensors, alpha: float | None, root: bool = False, rows: Rows = ()) -> Branch:
    """Of the tensors of one layer, whose `size` is known. alpha: None where the file says none. root: by the root of
    the rank, as rank-stabilised LoRA has it (Kalajdzievski 2023). rows: those of D that are wanted, else all."""
    if rows:
        tensors = {role: _taken(one, rows) if role in BY_ROW else one for role, one in tensors.items()}
    shapes = {role: tuple(one.shape) for role, one in tensors.items()}
    r = rank(shapes)
    scale = 1.0 if r is None or alpha is None else alpha / (math.sqrt(r) if root else r)
    core = {role: one for role, one in tensors.items() if role not in OF_DORA and role != "alpha"}
    made: Branch
    if "w_norm" in core:
        return OfNorm(core)
    if "up" in core:
        made = LowRank(core, scale)
    elif any(role.startswith("lokr_") for role in core):
        made = RowsOf(Kronecker(core, scale), rows) if rows else Kronecker(core, scale)
    else:
        made = Whole(core, scale)
    magnitude = next((role for role in OF_DORA if role in tensors), None)
    return made if magnitude is None else Decomposed(made, tensors[magnitude], by_row=magnitude == "magnitude")


class Branch(nn.Module):
    """branch(layer, x) -> D x, of the shape of layer(x). Its tensors are buffers."""

    scale: float

    def __init__(self, tensors: Tensors, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        for role, value in tensors.items():
            self.register_buffer(role, value, persistent=False)

    def delta(self, layer: Any) -> Tensor:
        """D, of the shape of layer.weight."""
        raise NotImplementedError

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        return applied(layer, x, self.delta(layer), getattr(self, "diff_b", None))


def applied(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A weight to x as a layer applies its own."""
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    return F.linear(x, weight, bias)


class LowRank(Branch):
    """B A x: two narrow layers, one after the other."""

    down: Tensor
    up: Tensor

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        r = len(self.down)
        up, mid = self.up.reshape(-1, r), getattr(self, "mid", None)
        if not isinstance(layer, nn.Conv2d):
            return F.linear(F.linear(x, self.down.reshape(r, -1)), up) * self.scale
        if mid is not None:
            inner = applied(layer, F.conv2d(x, self.down.reshape(r, -1, 1, 1)), mid)
        else:
            inner = applied(layer, x, self.down.reshape(r, *layer.weight.shape[1:]))
        return F.conv2d(inner, up[..., None, None]) * self.scale

    def delta(self, layer: Any) -> Tensor:
        r, mid = len(self.down), getattr(self, "mid", None)
        up, down = self.up.reshape(-1, r), self.down.reshape(r, -1)
        made = torch.einsum("or,rskl,si->oikl", up, mid, down) if mid is not None else up @ down
        return made.reshape(layer.weight.shape) * self.scale


class Kronecker(Branch):
    """C (x) G, either of them whole or of low rank: G acts on the second half of the channels' index, C on the first,
    so that D itself is never made."""

    def factors(self) -> tuple[Tensor, Tensor]:
        have = dict(self.named_buffers())
        left = have["lokr_w1"] if "lokr_w1" in have else have["lokr_w1_a"] @ have["lokr_w1_b"]
        if "lokr_w2" in have:
            return left, have["lokr_w2"]
        a, b = have["lokr_w2_a"], have["lokr_w2_b"]
        return left, _tucker(have["lokr_t2"], a, b) if "lokr_t2" in have else a @ b.reshape(len(b), -1)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        left, right = self.factors()
        if isinstance(layer, nn.Conv2d):
            b, c, h, w = x.shape
            kernel = right.reshape(len(right), c // left.shape[1], *layer.weight.shape[2:])
            inner = applied(layer, x.reshape(b * left.shape[1], -1, h, w), kernel)
            inner = inner.reshape(b, left.shape[1], *inner.shape[1:])
            return torch.einsum("oi,bichw->bochw", left, inner).flatten(1, 2) * self.scale
        inner = F.linear(x.unflatten(-1, (left.shape[1], -1)), right.reshape(len(right), -1))
        return torch.einsum("oi,...ic->...oc", left, inner).flatten(-2) * self.scale

    def delta(self, layer: Any) -> Tensor:
        left, right = self.factors()
        kernel = layer.weight.shape[2:]
        right = right.reshape(len(right), -1, *kernel).contiguous()
        return torch.kron(left.reshape(*left.shape, *[1] * len(kernel)), right) * self.scale


class RowsOf(Branch):
    """Some of the rows that another branch has."""

    def __init__(self, inner: Branch, rows: Rows):
        super().__init__({})
        self.inner, self.rows = inner, rows

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        return _taken(self.inner(layer, x).movedim(-1, 0), self.rows).movedim(0, -1)

    def delta(self, layer: Any) -> Tensor:
        return _taken(self.inner.delta(layer), self.rows)


class Whole(Branch):
    """D made of the file's tensors at each call: kept, it would be as large as the network."""

    def delta(self, layer: Any) -> Tensor:
        have = dict(self.named_buffers())
        if "diff" in have:
            return have["diff"].reshape(layer.weight.shape)
        a, b, c, d = (have[f"hada_{role}"] for role in ("w1_a", "w1_b", "w2_a", "w2_b"))
        if "hada_t1" in have:
            made = _tucker(have["hada_t1"], a, b) * _tucker(have["hada_t2"], c, d)
        else:
            made = (a @ b) * (c @ d)
        return made.reshape(layer.weight.shape) * self.scale


class Decomposed(Branch):
    """DoRA: the direction of W + D, and a magnitude m of its own for every row, or for every column, of the weight."""

    m: Tensor

    def __init__(self, inner: Branch, m: Tensor, by_row: bool):
        """by_row: whether it is of rows for certain; else a column of numbers says so."""
        super().__init__({"m": m})
        self.inner, self.by_row = inner, by_row

    def delta(self, layer: Any) -> Tensor:
        weight = layer.weight
        merged = weight + self.inner.delta(layer)
        flat = merged.flatten(2) if merged.ndim > 2 else merged[..., None]  # (out, in, kernel)
        by_row = self.by_row or len(self.m) == len(weight)
        norm = flat.norm(dim=(1, 2), keepdim=True) if by_row else flat.norm(dim=(0, 2), keepdim=True)
        m = self.m.reshape((-1, 1, 1) if by_row else (1, -1, 1))
        return (flat * (m / norm)).reshape(weight.shape) - weight


class OfNorm(Branch):
    """What is added to the weight and bias of a normalisation."""

    w_norm: Tensor

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        bias = getattr(self, "b_norm", None)
        if isinstance(layer, nn.GroupNorm):
            return F.group_norm(x, layer.num_groups, self.w_norm, bias, layer.eps)
        if isinstance(layer, nn.LayerNorm):
            return F.layer_norm(x, layer.normalized_shape, self.w_norm, bias, layer.eps)
        made = F.rms_norm(x, self.w_norm.shape, self.w_norm, layer.eps)
        return made if bias is None else made + bias


def _taken(tensor: Tensor, rows: Rows) -> Tensor:
    return torch.cat([tensor[first:end] for first, end in rows])


def _tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(r, r, k, l), (r, out), (r, in) -> (out, in, k, l)."""
    return torch.einsum("ijkl,ip,jr->prkl", core, a, b)
