"""Decoding a large image tile by tile, so that its memory is that of a tile."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Decode = Callable[[Tensor], Tensor]
OVERLAP = 4  # tiles share a fourth of their side with the next


def decoded_in_tiles(decode: Decode, latents: Tensor, factor: int, side: int) -> Tensor:
    """latents (1, C, h, w) -> (1, 3, h factor, w factor) float32, as `decode` makes it, from tiles of side x side
    latents at most. Where tiles overlap, one fades into the next, linearly. An autoencoder that looks at a whole
    image, for its normalization or by attention, gives its tiles a slightly different tone than it would give the
    whole."""
    height, width = latents.shape[-2:]
    image = torch.zeros(1, 3, height * factor, width * factor, device=latents.device)
    weights = torch.zeros_like(image[:, :1])
    for top, bottom in spans(height, side):
        for left, right in spans(width, side):
            tile = decode(latents[..., top:bottom, left:right])
            rows, columns = slice(top * factor, bottom * factor), slice(left * factor, right * factor)
            down, across = _fade(top, bottom, height, side, factor, tile), _fade(left, right, width, side, factor, tile)
            fade = down[:, None] * across
            image[..., rows, columns] += tile * fade
            weights[..., rows, columns] += fade
    return image / weights


def spans(length: int, side: int) -> Iterator[tuple[int, int]]:
    """The beginnings and ends of tiles over so many latents, the last one shifted to end where they do."""
    step = side - side // OVERLAP
    for start in range(0, max(length - side // OVERLAP, 1), step):
        end = min(start + side, length)
        yield max(end - side, 0), end


def _fade(start: int, end: int, length: int, side: int, factor: int, like: Tensor) -> Tensor:
    """How much each line of a tile counts: 1, and falling towards a side where another tile lies."""
    count, ramp = (end - start) * factor, max(side // OVERLAP * factor, 1)
    line = torch.ones(count, dtype=like.dtype, device=like.device)
    rising = (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5).div(ramp).clamp(max=1)
    if start > 0:
        line = line * rising
    if end < length:
        line = line * rising.flip(0)
    return line
