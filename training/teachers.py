"""Teachers of the denoiser: what the renderer knows exactly, as losses beside the error of the prediction.

* reading: from the token of each shape word, the text encoder must tell that solid's shape, colour, size, material and
  place in the picture, and from "left", "behind", ... those of the solid of which it is said: one token then holds
  what stands where;
* looking: the cross-attention from a solid's words must lie inside its mask (the lower the noise, the more it counts);
* seeing: the decoder's features must tell what stands at each cell, from noise in which only the text can tell, too;
* placing: features must tell how far across and down the picture they are. Convolutions learn this from their padding,
  but late: without this teacher "behind" was learnt within 150,000 pictures, and "left" not at all.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.text import LENGTH, Words, build_tokenizer
from world.scene import COLOURS, GROUNDS, MATERIALS, SHAPES, SIZES, SKIES

CLASSES = (len(SHAPES), len(COLOURS), len(SIZES), len(MATERIALS))
PLACES = (len(GROUNDS), len(SKIES), 4)
BINS = 8  # of places, across and down the picture


def relations_owned(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Owners (N, K, LENGTH) in which "left", "behind", ... belong to the solid of which they are said, the one named
    last; and where these words stand, (N, K, 3) int8, 0 where there are fewer."""
    tokenizer = build_tokenizer()
    said = [tokenizer(word)["input_ids"][1] for word in ("left", "right", "front", "behind", "next", "beside")]
    is_link = np.isin(words.tokens, said)
    owners, last = words.owners.copy(), np.full(words.owners.shape[:2], -1, np.int8)
    for i in range(LENGTH):
        last = np.where(words.owners[..., i] >= 0, words.owners[..., i], last)
        owners[..., i] = np.where(is_link[..., i], last, owners[..., i])
    order = np.argsort(~is_link, -1, kind="stable")[..., :3]
    links = np.where(np.take_along_axis(is_link, order, -1), order, 0).astype(np.int8)
    return owners, links


def places(masks: np.ndarray) -> np.ndarray:
    """Where the visible part of each solid is, across and down, (N, 4, 2) int8 in 0, ..., BINS - 1, -1 if nowhere;
    masks (N, S, S) hold the number of the solid."""
    side = masks.shape[-1]
    at = (np.arange(side) + 0.5) / side
    out = np.full((len(masks), 4, 2), -1, np.int8)
    for i in range(4):
        inside = masks == i
        cells = inside.sum((1, 2))
        middle = (
            np.stack([(inside.sum(1) * at).sum(1), (inside.sum(2) * at).sum(1)], -1) / np.maximum(cells, 1)[:, None]
        )
        out[:, i] = np.where(cells[:, None] > 0, np.minimum(middle * BINS, BINS - 1), -1)
    return out


class Looking:
    """Attention processor of training: plain attention that keeps the probabilities of cross-attention."""

    def __init__(self, kept: list[Tensor]):
        self.kept = kept

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        b = hidden_states.shape[0]
        q, k, v = (
            layer(x).view(b, -1, attn.heads, layer.out_features // attn.heads).transpose(1, 2)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        if encoder_hidden_states is None and q.is_cuda:
            out = F.scaled_dot_product_attention(q, k, v)
            return attn.to_out[0](out.transpose(1, 2).reshape(b, -1, q.shape[1] * q.shape[-1]))
        # Plain products: on the CPU the fused kernel's backward pass takes several times as long at these sizes.
        weights = (q * attn.scale @ k.transpose(-1, -2)).softmax(-1)  # (B, heads, cells, tokens or cells)
        if encoder_hidden_states is not None:
            self.kept.append(weights.float().mean(1))
        out = weights.to(v.dtype) @ v
        return attn.to_out[0](out.transpose(1, 2).reshape(b, -1, q.shape[1] * q.shape[-1]))


class Teachers:
    """The four losses. `listen` to a network before each call of it, then ask what they make of the call."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []  # cross-attention of each layer, (B, cells, tokens)
        self.seen: list[Tensor] = []  # features of the decoder, (B, 128, h, w)
        self.placed: list[Tensor] = []  # features of the deep layers

    def listen(self, network: nn.Module) -> None:
        """Hooks into the network, once; forgets what was kept of the call before."""
        for kept in (self.kept, self.seen, self.placed):
            kept.clear()
        if getattr(network.unet, "_listened", False):
            return
        network.unet.set_attn_processor(Looking(self.kept))
        unet = network.unet
        deep = [
            unet.down_blocks[2].attentions[0],
            unet.mid_block.attentions[0],
            unet.up_blocks[0].attentions[0],
            unet.up_blocks[1].attentions[0],
        ]
        for kept, layers in ((self.seen, [unet.up_blocks[1].attentions[-1]]), (self.placed, deep)):
            for layer in layers:
                layer.register_forward_hook(
                    lambda module, args, out, kept=kept: kept.append(out[0] if isinstance(out, tuple) else out.sample)
                )
        network.unet._listened = True

    def reading(self, network: nn.Module, text: Tensor, batch: dict[str, Tensor]) -> Tensor:
        tokens = torch.cat([batch["nouns"], batch["links"]], 1)  # (B, 4 + 3)
        at = text.gather(1, tokens[..., None].expand(-1, -1, text.shape[-1]))
        real = (tokens > 0) & batch["told"][:, None]
        subject = batch["owners"].gather(1, batch["links"]).clamp(min=0)
        told = torch.cat([batch["attributes"], batch["where"]], -1)  # (B, 4, 6)
        told = torch.cat([told, told.gather(1, subject[..., None].expand(-1, -1, 6))], 1)
        target = torch.where(real[..., None], told, -1)
        scores = [*network.reads(at).split(CLASSES, -1), *network.reads_where(at).split(BINS, -1)]
        losses = [
            F.cross_entropy(one.flatten(0, 1).float(), target[..., a].flatten(), ignore_index=-1)
            for a, one in enumerate(scores)
        ]
        place = torch.where(batch["told"][:, None], batch["place"], -1)
        losses += [
            F.cross_entropy(scores.float(), place[:, a], ignore_index=-1)
            for a, scores in enumerate(network.reads_place(text[:, -1]).split(PLACES, -1))
        ]
        return torch.stack(losses).nan_to_num().sum()

    def looking(self, batch: dict[str, Tensor], clear: Tensor) -> Tensor:
        owners, total = batch["owners"], 0.0
        solids = torch.arange(4, device=owners.device)
        words_of = (owners[:, None] == solids[:, None]).float()  # (B, 4, tokens)
        inside = (batch["mask"][:, None] == solids[:, None, None]).float()  # (B, 4, 32, 32)
        used = 0
        for weights in self.kept:  # (B, cells, tokens)
            side = math.isqrt(weights.shape[1])
            if side < 8:
                continue
            mask = F.adaptive_avg_pool2d(inside, side).flatten(2)
            maps = torch.einsum("bct,bst->bsc", weights, words_of)
            share = (maps * mask).sum(-1) / maps.sum(-1).clamp(min=1e-6)
            real = (words_of.sum(-1) > 0) & (mask.sum(-1) > 0)
            total = total + ((1 - share) ** 2 * real * clear[:, None]).sum() / real.sum().clamp(min=1)
            used += 1
        return total / max(used, 1)

    def seeing(self, network: nn.Module, batch: dict[str, Tensor], clear: Tensor) -> Tensor:
        scores = network.sees(self.seen[-1]).float()
        side = scores.shape[-1]
        step = batch["mask"].shape[-1] // side
        mask = batch["mask"][:, step // 2 :: step, step // 2 :: step]  # (B, side, side)
        solid = mask >= 0
        rows = torch.arange(len(mask), device=mask.device)[:, None, None]
        attributes = batch["attributes"][rows, mask.clamp(min=0)]  # (B, side, side, 4)
        kind = torch.where(solid, attributes[..., 0] + 2, torch.where(mask == -1, 1, 0))
        parts = scores.split((2 + CLASSES[0], *CLASSES[1:]), 1)
        loss = F.cross_entropy(parts[0], kind, reduction="none").mean((1, 2))
        share = solid.float().sum((1, 2)).clamp(min=1)
        for a in (1, 2, 3):
            target = torch.where(solid, attributes[..., a], -1)
            loss = loss + F.cross_entropy(parts[a], target, ignore_index=-1, reduction="none").sum((1, 2)) / share
        return (loss * clear).mean()

    def placing(self, network: nn.Module) -> Tensor:
        total = torch.zeros(())
        for head, features in zip(network.placed, self.placed, strict=True):
            b, _, h, w = features.shape
            across, down = head(features).float().split(BINS, 1)
            column = (torch.arange(w, device=features.device) * BINS // w).expand(b, h, w)
            row = (torch.arange(h, device=features.device) * BINS // h)[:, None].expand(b, h, w)
            total = total.to(across) + F.cross_entropy(across, column) + F.cross_entropy(down, row)
        return total
