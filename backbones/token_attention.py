"""Attention of transformers, left to the edits of `attention_sites.py`.

Most have joint attention: the tokens of words and image lie in one sequence, under one softmax. An edit sees what the
image's tokens attend to in two halves, a self-attention over the image and a cross-attention over the words:

    out = sum_g softmax(l)_g out_g,   l_g = logsumexp(q k_g^T / sqrt(d))      g: image, words, all other keys

A half that is asked with the same queries, whatever its keys and values, takes part with the logsumexp over those keys,
so that keys and values put in place of others have the effect that they have in the whole attention. A half whose
output is made otherwise, of edited maps or of other queries, keeps the share that it had. What words attend to is left
as it is, and without any change so is everything, bit for bit.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backbones.attention_sites import Site, both

THIRDS = ("down", "mid", "up")
AT_ONCE = 2**26  # logits held at once


@dataclass(frozen=True)
class Attention:
    """The attention layers of a transformer that an edit sees, by their names.

    names: a regular expression for the whole name. kind: "joint"; "self", of the image alone; "cross". stream: of a
    joint one, "double" where words have layers of their own, "single" where they have none. image_first: the order in
    the sequence. filled: the tokens of the image are filled up to a multiple of it.
    """

    names: str
    kind: str = "joint"
    stream: str = ""
    image_first: bool = False
    filled: int = 1

    def spans(self, image: int, words: int) -> tuple[slice, slice]:
        """The tokens of image and words, of which there are so many, among the keys."""
        if self.kind == "cross":
            return slice(0, 0), slice(0, words)
        if self.kind == "self":
            return slice(0, image), slice(0, 0)
        if not self.image_first:
            return slice(words, words + image), slice(0, words)
        begin = -(-image // self.filled) * self.filled
        return slice(0, image), slice(begin, begin + words)


@dataclass(frozen=True)
class Layer:
    """One attention layer; numbers: kind of site -> (its number among those of the kind, how many there are)."""

    name: str
    declared: Attention
    place: str
    numbers: Mapping[str, tuple[int, int]]


def layers(network: nn.Module, declared: Sequence[Attention]) -> dict[str, Layer]:
    """Of a transformer, by name, in the order they are run."""
    found = [(name, one) for name, _ in network.named_modules() for one in declared if re.fullmatch(one.names, name)]
    of = {kind: sum(one.kind in (kind, "joint") for _, one in found) for kind in ("self", "cross")}
    counted, made = dict.fromkeys(of, 0), {}
    for depth, (name, one) in enumerate(found):
        kinds = [kind for kind in of if one.kind in (kind, "joint")]
        numbers = {kind: (counted[kind], of[kind]) for kind in kinds}
        made[name] = Layer(name, one, THIRDS[(2 * depth + 1) * 3 // (2 * len(found))], numbers)
        for kind in kinds:
            counted[kind] += 1
    return made


class Half:
    """What the image's queries attend to in one half of the keys; see the head of this file."""

    def __init__(self, site: Site, q: Tensor, k: Tensor, v: Tensor):
        self.site, self.q, self.k, self.v = site, q, k, v
        self._last: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None] | None = None

    def plain(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        out = F.scaled_dot_product_attention(q, k, v, both(self.site.bias, bias), scale=self.site.scale)
        self._last = out, q, k, v, bias
        return out

    def ask(self, edit: Any) -> bool:
        """Whether the edit changes anything; then `out` is what it gives, and `share` l."""
        self.out = edit.attend(self.site, self.q, self.k, self.v, self.plain)
        if self.out.shape != self.q.shape[:-1] + self.v.shape[-1:]:
            raise ValueError(f"the edit's attend gave {tuple(self.out.shape)} at {self.site.name}, wanted "
                             f"{tuple(self.q.shape)}")  # fmt: skip
        out, q, k, v, bias = self._last or (None, None, None, None, None)
        given = out is self.out and q is self.q
        self._keys, self._bias = (k, bias) if given else (None, None)
        return not (given and k is self.k and v is self.v and bias is None)

    @property
    def share(self) -> Tensor:
        """(B, heads, N, 1)"""
        keys: Tensor = self.k if self._keys is None else self._keys
        return share(self.site, self.q, keys, both(self.site.bias, self._bias))


def share(site: Site, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """The logsumexp of logits of queries (B, heads, N, d) over keys (B, heads, M, d): (B, heads, N, 1)."""
    B, heads, N, _d = q.shape
    rows = max(1, AT_ONCE // (B * heads * k.shape[2]))
    parts = []
    for begin in range(0, N, rows):
        logits = q[:, :, begin : begin + rows].float() @ k.float().transpose(-1, -2) * site.scale
        if bias is not None:
            some = bias[..., begin : begin + rows, :] if bias.shape[-2] == N else bias
            logits = logits.masked_fill(~some, -torch.inf) if some.dtype == torch.bool else logits + some
        parts.append(logits.logsumexp(-1, keepdim=True))
    return torch.cat(parts, 2)


class Attending(TorchFunctionMode):
    """Answers torch's attention within the layers of a network by an edit."""

    def __init__(self, edit: Any, size: tuple[int, int], words: int):
        """size: (h, w) of the grid of the image's tokens. words: tokens of a text."""
        super().__init__()
        self.edit, self.size, self.words = edit, size, words
        self.layer: Layer | None = None  # the one that is run
        self.seen: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and self.layer is not None:
            return self.attend(self.layer, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def attend(
        self, layer: Layer, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        """In place of torch's function, whose arguments these are: (B, heads, tokens, d)."""
        self.seen.add(layer.name)
        if enable_gqa:
            key, value = (one.repeat_interleave(query.shape[1] // one.shape[1], 1) for one in (key, value))
        mask = attn_mask
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        image, words = layer.declared.spans(self.size[0] * self.size[1], self.words)
        rows = slice(0, self.size[0] * self.size[1]) if layer.declared.kind == "cross" else image
        q = query[:, :, rows]

        def site_at(kind: str, keys: Any, beside: bool) -> Site:
            name = f"{layer.name}.{kind}" if layer.declared.kind == "joint" else layer.name
            return Site(name, kind, layer.place, *layer.numbers.get(kind, (0, 0)), *self.size, scale,
                        _part(mask, rows, keys), beside, layer.declared.stream)  # fmt: skip

        others = torch.ones(key.shape[2], dtype=torch.bool, device=key.device)
        others[image] = others[words] = False
        asked = [(kind, keys) for kind, keys in (("self", image), ("cross", words)) if kind in layer.numbers]
        joint = len(asked) > 1 or bool(others.any())
        halves = [Half(site_at(kind, keys, joint), q, key[:, :, keys], value[:, :, keys]) for kind, keys in asked]
        changed = [half.ask(self.edit) for half in halves]
        whole = F.scaled_dot_product_attention(query, key, value, mask, dropout_p, is_causal, scale=scale)
        if not any(changed):
            return whole
        outs, shares = [half.out.to(q.dtype) for half in halves], [half.share for half in halves] if joint else []
        if others.any():
            at, k = site_at("other", others, True), key[:, :, others]
            outs.append(F.scaled_dot_product_attention(q, k, value[:, :, others], at.bias, scale=scale))
            shares.append(share(at, q, k, at.bias))
        weights = torch.stack(shares).softmax(0).to(q.dtype) if joint else q.new_ones(1)
        mixed = sum(weight * out for weight, out in zip(weights, outs))
        return torch.cat([whole[:, :, : rows.start], mixed, whole[:, :, rows.stop :]], 2)


def _part(mask: Tensor | None, rows: slice, keys: Any) -> Tensor | None:
    """Of a mask (B or 1, heads or 1, tokens or 1, tokens)."""
    if mask is None:
        return None
    return (mask if mask.shape[-2] == 1 else mask[..., rows, :])[..., keys]


@contextmanager
def editing(
    network: nn.Module, declared: Sequence[Attention], edit: Any, size: tuple[int, int], words: int
) -> Iterator[None]:
    """The network with this edit in its attention, and without any trace of it afterwards.

    size: (h, w) of the grid of the image's tokens. words: tokens of a text. Raises TypeError for an edit without
    `attend`, ValueError where a layer does not attend by torch's own function.
    """
    if not callable(getattr(edit, "attend", None)):
        raise TypeError(f"{type(edit).__name__} is no edit: it has no method attend(site, q, k, v, plain)")
    every, mode = layers(network, declared), Attending(edit, size, words)

    def enters(layer: Layer | None) -> Callable[..., None]:
        return lambda *_: setattr(mode, "layer", layer)

    hooks = []
    for name, layer in every.items():
        module = network.get_submodule(name)
        hooks += [module.register_forward_pre_hook(enters(layer)), module.register_forward_hook(enters(None))]
    try:
        with mode:
            yield
    finally:
        for hook in hooks:
            hook.remove()
    if missed := set(every) - mode.seen:
        raise ValueError(f"{min(missed)} does not attend by torch's own function, so that it cannot be edited: set no "
                         "other attention backend")  # fmt: skip
