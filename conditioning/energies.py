"""Energies: how far images are from a target, in one respect. Gradients run through them; guidance goes down.

    energy = ENERGIES["depth"](target, backbone)        # target (B, 3, H, W) in [0, 1], read once
    energy(images)                                    # (B, 3, H, W) in [0, 1] -> (B,), 0 where it agrees

The target is an image, but for "depth map" and "edge map", where it is a finished map, and for those of `OF_WORDS`,
where it is a text. Colours and edges are a matter of pixels. Depth, shapes and style are read by
`backbone.perception_model`, a network that lies beside the backbone's weights (`backbones/guiding_networks.py`), and
words by `backbone.contrastive`: they know the world that they were trained on, and no other.
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

    def sorted_along(images: Tensor) -> Tensor:
        """(B, DIRECTIONS, pixels), ascending; of a quarter of the pixels each way, blurred: noise is no colour."""
        small = F.avg_pool2d(images, max(1, images.shape[-1] // 64)).flatten(2)  # (B, 3, P)
        along = (ways.to(small)[:, :, None] * small[:, None]).sum(2)
        return along.sort(2).values

    wanted = sorted_along(target)
    return lambda images: (sorted_along(images) - wanted.to(images)).square().flatten(1).mean(1)


def edges(target: Tensor, backbone: Any = None) -> Energy:
    """Squared difference of the edge maps, soft and at three scales, whatever the colours on both sides."""
    wanted = [traced(scale) for scale in _scales(target)]

    def energy(images: Tensor) -> Tensor:
        pairs = zip(_scales(images), wanted, strict=True)
        return torch.stack([(traced(a) - b.to(a)).square().flatten(1).mean(1) for a, b in pairs]).sum(0)

    return energy


def traced(images: Tensor) -> Tensor:
    """(B, 1, h, w) in [0, 1): Sobel's gradient of each channel, the strongest, by EDGE."""
    p = F.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = p[..., :-2, :] + 2 * p[..., 1:-1, :] + p[..., 2:, :]
    columns = p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]
    across = (rows[..., 2:] - rows[..., :-2]) / 4
    down = (columns[..., 2:, :] - columns[..., :-2, :]) / 4
    strength = (across.square() + down.square() + 1e-4).sqrt().amax(1, keepdim=True)  # a slope where it is flat
    return strength / (strength + EDGE)


def edge_map(target: Tensor, backbone: Any = None) -> Energy:
    """1 less the correlation of the soft edges with a map of white lines on black, mean of three scales: how thick and
    how bright its lines are is a matter of who drew them."""
    wanted = _scales(target.mean(1, keepdim=True))

    def energy(images: Tensor) -> Tensor:
        pairs = zip(_scales(images), wanted, strict=True)
        return 1 - torch.stack([_correlation(traced(a), F.avg_pool2d(b.to(a), 3, 1, 1)) for a, b in pairs]).mean(0)

    return energy


def depth(target: Tensor, backbone: Any) -> Energy:
    """Squared difference of nearness (metres by the depth), as the backbone's perception model reads it."""
    model = _offered(backbone, "perception_model", "depth")
    wanted = model(target.float()).nearness.detach()
    return lambda images: (model(images.float()).nearness - wanted).square().flatten(1).mean(1)


def depth_map(target: Tensor, backbone: Any) -> Energy:
    """1 less the correlation of the nearness read with a map, white near and black far: its unit and zero do
    not matter (Ranftl et al. 2020, arXiv 1907.01341, Section 5)."""
    model = _offered(backbone, "perception_model", "depth map")
    wanted = target.float().mean(1, keepdim=True)

    def energy(images: Tensor) -> Tensor:
        nearness = model(images.float()).nearness
        return 1 - _correlation(nearness, F.adaptive_avg_pool2d(wanted.to(nearness), nearness.shape[2:]))

    return energy


def shapes(target: Tensor, backbone: Any) -> Energy:
    """Cross-entropy of what stands where (sky, ground, and each shape), above that of the target with itself."""
    model = _offered(backbone, "perception_model", "shapes")
    wanted = model(target.float()).classes.detach().softmax(1)  # (B, K, h, w)
    least = -(wanted * wanted.clamp(min=1e-9).log()).sum(1).flatten(1).mean(1)
    return lambda images: -(wanted * model(images.float()).classes.log_softmax(1)).sum(1).flatten(1).mean(1) - least


def style(target: Tensor, backbone: Any) -> Energy:
    """Squared difference of the Gram matrices of perception model features, scale by scale (Gatys et al. 2016)."""
    model = _offered(backbone, "perception_model", "style")

    def grams(images: Tensor) -> list[Tensor]:
        maps = [m.flatten(2) for m in model(images.float()).features]
        return [m @ m.mT / m.shape[2] for m in maps]

    wanted = [gram.detach() for gram in grams(target)]

    def energy(images: Tensor) -> Tensor:
        pairs = zip(grams(images), wanted, strict=True)
        return torch.stack([(a - b).square().flatten(1).mean(1) / b.square().flatten(1).mean(1) for a, b in pairs]).sum(
            0
        )

    return energy


def text(target: str, backbone: Any) -> Energy:
    """1 less the score of the words in the backbone's contrastive model, in [0, 2]."""
    model = _offered(backbone, "contrastive", "text")
    model.parse(target)  # what it does not know is refused now
    return lambda images: 1 - model.score(images.float(), target)


ENERGIES: dict[str, Callable[[Any, Any], Energy]] = {
    "colours": colours,
    "edges": edges,
    "edge map": edge_map,
    "depth": depth,
    "depth map": depth_map,
    "shapes": shapes,
    "style": style,
    "text": text,
}
OF_WORDS = frozenset({"text"})  # their target is words; of the others it is an image or a map


def _scales(maps: Tensor) -> list[Tensor]:
    return [F.avg_pool2d(maps, factor) for factor in (1, 2, 4)]


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Of the pixels of two maps (B, 1, h, w), for each row (B,), in [-1, 1]; 0 where one of them is flat."""
    a, b = (one.flatten(1) - one.flatten(1).mean(1, keepdim=True) for one in (a, b))
    return F.cosine_similarity(a, b, dim=1, eps=1e-6)


def _offered(backbone: Any, network: str, energy: str) -> Any:
    """A network beside the backbone's weights. Raises ValueError, with what needs none, where it has none."""
    if network not in getattr(backbone, "offers", ()):
        id, name = getattr(backbone, "id", "the backbone"), network.replace("_", " ")
        raise ValueError(f"{id} has no {name}, which {energy} needs: colours, edges and edge map need none")
    return getattr(backbone, network)
