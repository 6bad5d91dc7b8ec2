"""Edits of a network's attention for the length of one ask.

An edit is an object with the method `attend`, and may also have `feature`:

    attend(site, q, k, v, plain) -> out    in place of plain(q, k, v); q, out (B, heads, N, d), k, v (B, heads, M, d)
    feature(site, h) -> h                  what a residual block is about to add to its input, (B, C, H, W)

`plain(q, k, v, bias=None)` is the attention as it would have been (bias: added to the logits, (B, heads, N, M) or
broadcast to it, or a bool mask); attention maps are `site.maps(q, k)`. How transformers are edited, in which image and
words share one attention, `token_attention.py` says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ORDER = {"down": 0, "mid": 1, "up": 2}  # in which the parts run; a module lists its mid block last
PLAIN = ("AttnProcessor", "AttnProcessor2_0")  # processors that compute what EditedAttention computes


@dataclass(frozen=True)
class Site:
    """Where in the network: its name, and what one selects by."""

    name: str  # "up_blocks.1.attentions.0.transformer_blocks.0.attn2"
    kind: str  # "self", "cross" or "feature"
    place: str  # "down", "mid" or "up"; of a transformer, the third of its depth
    index: int  # counts the sites of one kind in the order they are run
    of: int  # how many there are of this kind
    height: int  # of the grid of N = height * width query tokens (or of the feature map); 0 where N is no such grid
    width: int
    scale: float = 1.0  # 1 / sqrt(d)
    bias: Tensor | None = field(default=None, compare=False)  # of the logits, broadcast to (B, heads, N, M)
    joint: bool = False  # whether these keys share a softmax with others, as those of the image with those of words
    stream: str = ""  # of joint attention: "double" where words have layers of their own, "single" where they have none

    def maps(self, q: Tensor, k: Tensor) -> Tensor:
        """How far queries (B, heads, N, d) look at keys (B, heads, M, d): (B, heads, N, M), rows that sum to 1."""
        logits = q @ k.transpose(-1, -2) * self.scale
        return (logits if self.bias is None else logits + self.bias).softmax(-1)


class EditedAttention:
    """An attention processor: q, k, v and the output as in diffusers' own, the middle left to the edit."""

    def __init__(self, edit: Any, name: str, index: int, of: int, size: tuple[int, int]):
        self.edit, self.name, self.index, self.of, self.size = edit, name, index, of, size

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        B, N, _c = hidden_states.shape
        kind = "self" if encoder_hidden_states is None else "cross"
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        mask = None
        if attention_mask is not None:
            mask = attn.prepare_attention_mask(attention_mask, text.shape[1], B)
            mask = mask.view(B, attn.heads, -1, mask.shape[-1])

        def heads(rows: Tensor) -> Tensor:  # (B, N, heads * d) -> (B, heads, N, d)
            return rows.view(B, -1, attn.heads, rows.shape[-1] // attn.heads).transpose(1, 2)

        def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=both(mask, bias))

        q, k, v = heads(attn.to_q(hidden_states)), heads(attn.to_k(text)), heads(attn.to_v(text))
        if attn.norm_q is not None:
            q = attn.norm_q(q)
        if attn.norm_k is not None:
            k = attn.norm_k(k)
        where = self.name, kind, place(self.name), self.index, self.of
        site = Site(*where, *grid(self.size, N), scale=q.shape[-1] ** -0.5, bias=mask)
        out = self.edit.attend(site, q, k, v, plain)
        if out.shape != q.shape[:-1] + v.shape[-1:]:
            raise ValueError(f"the edit's attend gave {tuple(out.shape)} at {self.name}, wanted {tuple(q.shape)}")
        out = out.transpose(1, 2).reshape(B, N, -1).to(q.dtype)
        return attn.to_out[1](attn.to_out[0](out)) / attn.rescale_output_factor


def both(mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """What is added to logits, of the network's own mask and an edit's bias, either a bool mask or added itself."""
    if mask is None or bias is None:
        return mask if bias is None else bias
    if mask.dtype == bias.dtype == torch.bool:
        return mask & bias
    if mask.dtype == torch.bool:
        mask, bias = bias, mask
    return mask.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else mask + bias


@contextmanager
def editing(network: nn.Module, edit: Any, size: tuple[int, int]) -> Iterator[None]:
    """The network with this edit in its attention, and without any trace of it afterwards.

    size: (h, w) of the latents. Raises TypeError for an edit without `attend`, ValueError where an attention of the
    network is not a plain one (an image-prompt adapter's, say), because the edit would drop what that one adds.
    """
    if not callable(getattr(edit, "attend", None)):
        raise TypeError(f"{type(edit).__name__} is no edit: it has no method attend(site, q, k, v, plain)")
    named: list[tuple[str, Any]] = sorted(network.named_modules(), key=lambda one: ORDER.get(place(one[0]), 0))
    sites = [one for one in named if one[0].endswith((".attn1", ".attn2"))]
    for name, module in sites:
        if type(module.processor).__name__ not in PLAIN:
            raise ValueError(f"{name} has {type(module.processor).__name__}: edits fit plain attention only")
    saved = [module.processor for _, module in sites]
    hooks: list[Any] = []
    try:
        for kind in (".attn1", ".attn2"):
            alike = [one for one in sites if one[0].endswith(kind)]
            for i, (name, module) in enumerate(alike):
                module.set_processor(EditedAttention(edit, name, i, len(alike), size))
        if hasattr(edit, "feature"):
            blocks = [(name, m) for name, m in named if type(m).__name__ == "ResnetBlock2D"]
            for i, (name, module) in enumerate(blocks):
                hooks.append(module.conv2.register_forward_hook(_feature(edit, name, i, len(blocks))))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for (_, module), processor in zip(sites, saved):
            module.set_processor(processor)


def _feature(edit: Any, name: str, index: int, of: int) -> Any:
    def hook(_module: nn.Module, _inputs: Any, h: Tensor) -> Tensor:
        return edit.feature(Site(name, "feature", place(name), index, of, h.shape[-2], h.shape[-1]), h)

    return hook


def place(name: str) -> str:
    """A module's name -> "down", "mid" or "up"."""
    return name.partition("_")[0]


def grid(size: tuple[int, int], tokens: int) -> tuple[int, int]:
    """Latents of (h, w) -> the grid, halved (rounding up) until it has so many tokens; (0, 0) if none has."""
    h, w = size
    while h * w > tokens and h * w > 1:
        h, w = (h + 1) // 2, (w + 1) // 2
    return (h, w) if h * w == tokens else (0, 0)
