"""Teachers of the denoiser: what the renderer knows exactly, as losses beside the error of the prediction.

* reading: from the token of the last word about each solid, the text encoder must tell that solid's shape, colour,
  size, material and place in the image, and from "left", "behind", ... those of the solid of which it is said: one
  token then holds what stands where;
* looking: the cross-attention from a solid's words must lie inside its mask (the lower the noise, the more it counts);
* surfaces: the decoder's features must tell, at twice their resolution, what stands there, its normal and its nearness,
  and for each cell the colour, size and material, from noise in which only the text can tell, too (Yu et al. 2024,
  arXiv 2410.06940, REPA, with exact maps in place of another network's features);
* placing: features must tell how far across and down the image they are. Convolutions learn this from their padding,
  but late: without this teacher "behind" was learned within 150,000 images, and "left" not at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.scene_arrays import BINS, MOST
from world.scene import COLOURS, GROUNDS, MATERIALS, SHAPES, SIZES, SKIES

CLASSES = (len(SHAPES), len(COLOURS), len(SIZES), len(MATERIALS))
KINDS = 2 + len(SHAPES)  # sky, ground, the shapes
PLACES = (len(GROUNDS), len(SKIES), MOST)
FINE = KINDS + 4  # of each of the four parts of a cell: kind, normal, nearness
WIDTH = 192  # of the text


class Heads(nn.Module):
    """The layers that only the teachers have; features: channels of the layers that `placing` and `surfaces` read."""

    def __init__(self, placed: tuple[int, ...], last: int):
        super().__init__()
        self.reads = nn.Linear(WIDTH, sum(CLASSES) + 2 * BINS)
        self.reads_place = nn.Linear(WIDTH, sum(PLACES))
        self.surfaces = nn.Conv2d(last, 4 * FINE + sum(CLASSES[1:]), 1)
        self.placed = nn.ModuleList(nn.Conv2d(channels, 2 * BINS, 1) for channels in placed)


class PlainAttention:
    """Attention processor of training: plain products, which keep the probabilities of cross-attention."""

    def __init__(self, probabilities: list[Tensor]):
        self.probabilities = probabilities

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        b = hidden_states.shape[0]
        q, k, v = (
            layer(x).view(b, -1, attn.heads, layer.out_features // attn.heads).transpose(1, 2)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        if encoder_hidden_states is None and q.is_cuda:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            # On the CPU the fused kernel's backward pass takes several times as long at these sizes.
            weights = (q * attn.scale @ k.transpose(-1, -2)).softmax(-1)  # (B, heads, cells, tokens or cells)
            if encoder_hidden_states is not None:
                self.probabilities.append(weights.float().mean(1))
            out = weights.to(v.dtype) @ v
        return attn.to_out[0](out.transpose(1, 2).reshape(b, -1, q.shape[1] * q.shape[-1]))


class Teachers:
    """The four losses. `listen` to a network before each call of it, then ask for the losses of the call."""

    def __init__(self) -> None:
        self.attention: list[Tensor] = []  # cross-attention of each layer, (B, cells, tokens)
        self.features: list[Tensor] = []  # of the layers that must know their place, and last of the decoder's end

    def listen(self, unet: nn.Module) -> None:
        """Hooks into the network, once; forgets the call before."""
        self.attention.clear()
        self.features.clear()
        if getattr(unet, "_listened", False):
            return
        unet.set_attn_processor(PlainAttention(self.attention))
        for layer in placed_layers(unet):
            layer.register_forward_hook(lambda module, args, out: self.features.append(_tensor(out)))
        unet.conv_norm_out.register_forward_pre_hook(lambda module, args: self.features.append(args[0]))
        unet._listened = True

    def reading(self, heads: Heads, text: Tensor, batch: dict[str, Tensor]) -> Tensor:
        tokens = torch.cat([batch["ends"], batch["links"]], 1)  # (B, 4 + 3)
        at = text.gather(1, tokens[..., None].expand(-1, -1, text.shape[-1]))
        where = torch.where(batch["alone"][..., None], batch["where"], -1)  # a plural has no place of its own
        solids = torch.cat([batch["attributes"], where], -1)  # (B, 4, 6)
        subject = batch["subjects"]
        linked = solids.gather(1, subject.clamp(min=0)[..., None].expand(-1, -1, 6))
        target = torch.cat([solids, torch.where(subject[..., None] >= 0, linked, -1)], 1)
        target = torch.where(((tokens > 0) & batch["captioned"][:, None])[..., None], target, -1)
        scores = heads.reads(at).float().split((*CLASSES, BINS, BINS), -1)
        losses = [
            F.cross_entropy(score.flatten(0, 1), target[..., a].flatten(), ignore_index=-1)
            for a, score in enumerate(scores)
        ]
        place = torch.where(batch["captioned"][:, None], batch["place"], -1)
        losses += [
            F.cross_entropy(score, place[:, a], ignore_index=-1)
            for a, score in enumerate(heads.reads_place(text[:, -1]).float().split(PLACES, -1))
        ]
        return torch.stack(losses).nan_to_num().sum()

    def looking(self, batch: dict[str, Tensor], clear: Tensor) -> Tensor:
        solids = torch.arange(MOST, device=clear.device)
        words_of = (batch["owners"][:, None] >> solids[:, None] & 1).float()  # (B, 4, tokens)
        inside = (batch["mask"][:, None] == solids[:, None, None]).float()  # (B, 4, 32, 32)
        total, used = clear.new_zeros(()), 0
        for weights in self.attention:  # (B, cells, tokens)
            mask = F.adaptive_avg_pool2d(inside, math.isqrt(weights.shape[1])).flatten(2)
            maps = torch.einsum("bct,bst->bsc", weights, words_of)
            # Words that several solids share ("two red cubes") may look at each of them.
            share = (maps * self._allowed(words_of, mask)).sum(-1) / maps.sum(-1).clamp(min=1e-6)
            real = (words_of.sum(-1) > 0) & (mask.sum(-1) > 0)
            total = total + ((1 - share) ** 2 * real * clear[:, None]).sum() / real.sum().clamp(min=1)
            used += 1
        return total / max(used, 1)

    @staticmethod
    def _allowed(words_of: Tensor, mask: Tensor) -> Tensor:
        """(B, 4, cells): where the words of a solid may look: at it, and at those that share words with it."""
        shared = (words_of @ words_of.transpose(1, 2) > 0).float()  # (B, 4, 4)
        return (shared @ mask).clamp(max=1)

    def surfaces(self, heads: Heads, batch: dict[str, Tensor]) -> Tensor:
        out = heads.surfaces(self.features[-1]).float()
        fine = F.pixel_shuffle(out[:, : 4 * FINE], 2)  # (B, FINE, 32, 32)
        mask = batch["mask"]
        step = mask.shape[-1] // fine.shape[-1]
        mask, surface = mask[:, ::step, ::step], batch["surface"][:, :, ::step, ::step].float() / 127
        solid = mask >= 0
        rows = torch.arange(len(mask), device=mask.device)[:, None, None]
        attributes = batch["attributes"][rows, mask.clamp(min=0)]  # (B, h, w, 4)
        kind = torch.where(solid, attributes[..., 0] + 2, torch.where(mask == -1, 1, 0))
        weight = 1 + 3 * solid.float()  # solids are a tenth of the image
        loss = (F.cross_entropy(fine[:, :KINDS], kind, reduction="none") * weight).mean()
        loss = loss + ((fine[:, KINDS:] - surface).abs().mean(1) * weight).mean()
        coarse = mask[:, ::2, ::2]
        for a, score in enumerate(out[:, 4 * FINE :].split(CLASSES[1:], 1), 1):
            target = torch.where(coarse >= 0, attributes[:, ::2, ::2, a], -1)
            loss = loss + F.cross_entropy(score, target, ignore_index=-1).nan_to_num()
        return loss

    def placing(self, heads: Heads) -> Tensor:
        total = self.features[0].new_zeros((), dtype=torch.float32)
        for head, features in zip(heads.placed, self.features[:-1], strict=True):
            b, _, h, w = features.shape
            across, down = head(features).float().split(BINS, 1)
            column = (torch.arange(w, device=features.device) * BINS // w).expand(b, h, w)
            row = (torch.arange(h, device=features.device) * BINS // h)[:, None].expand(b, h, w)
            total = total + F.cross_entropy(across, column) + F.cross_entropy(down, row)
        return total


def placed_layers(unet: nn.Module) -> list[nn.Module]:
    """The layers whose features must know their place: the last of each stage that attends."""
    blocks = [*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks]
    return [block.attentions[-1] for block in blocks if getattr(block, "attentions", None)]


def _tensor(out: object) -> Tensor:
    return out[0] if isinstance(out, tuple) else out.sample  # type: ignore[attr-defined]
