"""Energies: how far pictures are from a target, in one respect. Gradients run through them; guidance goes down.

    energy = ENERGIES["depth"](target, backbone)        # target (B, 3, H, W) in [0, 1], read once
    energy(pictures)                                    # (B, 3, H, W) in [0, 1] -> (B,), 0 where it agrees

Colours and edges are a matter of pixels. Depth, shapes and style are read by `backbone.reader`, a network that lies
beside the backbone's weights (`backbones/readers.py`): it tells them of its own world, and of no other.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Energy = Callable[[Tensor], Tensor]

DIRECTIONS = 12  # on which colours are sorted
EDGE = 0.08  # a jump of brightness that counts as half an edge


def colours(target: Tensor, backbone: Any = None) -> Energy:
    """Squared sliced Wasserstein distance of the two clouds of colours: which there are and how much, not where."""
    stream = torch.Generator().manual_seed(0)
    ways = F.normalize(torch.randn(DIRECTIONS, 3, generator=stream, dtype=torch.float64), dim=1)

    def sorted_along(pictures: Tensor) -> Tensor:
        """(B, DIRECTIONS, pixels), ascending; of a quarter of the pixels each way, blurred: noise is no colour."""
        small = F.avg_pool2d(pictures, max(1, pictures.shape[-1] // 64)).flatten(2)  # (B, 3, P)
        along = (ways.to(small)[:, :, None] * small[:, None]).sum(2)
        return along.sort(2).values

    wanted = sorted_along(target)
    return lambda pictures: (sorted_along(pictures) - wanted.to(pictures)).square().flatten(1).mean(1)


def edges(target: Tensor, backbone: Any = None) -> Energy:
    """Squared difference of the edge maps, soft and at three scales, whatever the colours on both sides."""

    def traced(pictures: Tensor) -> Tensor:
        """(B, 1, h, w) in [0, 1): Sobel's gradient of each channel, the strongest, by EDGE."""
        p = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
        rows = p[..., :-2, :] + 2 * p[..., 1:-1, :] + p[..., 2:, :]
        columns = p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]
        across = (rows[..., 2:] - rows[..., :-2]) / 4
        down = (columns[..., 2:, :] - columns[..., :-2, :]) / 4
        strength = (across.square() + down.square() + 1e-4).sqrt().amax(1, keepdim=True)  # a slope where it is flat
        return strength / (strength + EDGE)

    def scales(pictures: Tensor) -> list[Tensor]:
        return [traced(F.avg_pool2d(pictures, factor)) for factor in (1, 2, 4)]

    wanted = scales(target)

    def energy(pictures: Tensor) -> Tensor:
        pairs = zip(scales(pictures), wanted, strict=True)
        return torch.stack([(a - b.to(a)).square().flatten(1).mean(1) for a, b in pairs]).sum(0)

    return energy


def depth(target: Tensor, backbone: Any) -> Energy:
    """Squared difference of nearness (metres by the depth), as the backbone's reader reads it."""
    reader = _reader(backbone, "depth")
    wanted = reader(target.float()).nearness.detach()
    return lambda pictures: (reader(pictures.float()).nearness - wanted).square().flatten(1).mean(1)


def shapes(target: Tensor, backbone: Any) -> Energy:
    """Cross-entropy of what stands where (sky, ground, and each shape), above that of the target with itself."""
    reader = _reader(backbone, "shapes")
    wanted = reader(target.float()).classes.detach().softmax(1)  # (B, K, h, w)
    least = -(wanted * wanted.clamp(min=1e-9).log()).sum(1).flatten(1).mean(1)
    return lambda pictures: (
        -(wanted * reader(pictures.float()).classes.log_softmax(1)).sum(1).flatten(1).mean(1) - least
    )


def style(target: Tensor, backbone: Any) -> Energy:
    """Squared difference of the Gram matrices of the reader's features, scale by scale (Gatys et al. 2016)."""
    reader = _reader(backbone, "style")

    def grams(pictures: Tensor) -> list[Tensor]:
        maps = [m.flatten(2) for m in reader(pictures.float()).features]
        return [m @ m.mT / m.shape[2] for m in maps]

    wanted = [gram.detach() for gram in grams(target)]

    def energy(pictures: Tensor) -> Tensor:
        pairs = zip(grams(pictures), wanted, strict=True)
        return torch.stack([(a - b).square().flatten(1).mean(1) / b.square().flatten(1).mean(1) for a, b in pairs]).sum(
            0
        )

    return energy


ENERGIES: dict[str, Callable[[Tensor, Any], Energy]] = {
    "colours": colours,
    "edges": edges,
    "depth": depth,
    "shapes": shapes,
    "style": style,
}


def _reader(backbone: Any, what: str) -> Any:
    if "reader" not in getattr(backbone, "offers", ()):
        raise ValueError(f"{getattr(backbone, 'id', 'the backbone')} has no reader, which {what} needs: colours and "
                         "edges need none")  # fmt: skip
    return backbone.reader
