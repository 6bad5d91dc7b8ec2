"""Random numbers that belong to an image: one generator a row, on the CPU.

So an image depends on its seed and on nothing else: not on the rest of its batch, its device or its dtype.
"""

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class Noise:
    """Standard normal numbers, row i from a stream of its own that starts at seeds[i].

    The numbers are drawn in float32 on the CPU whatever is asked for. A first draw of shape (C, h, w) equals
    `torch.randn(1, C, h, w, generator=torch.Generator().manual_seed(seed))`, the habit of most image tools.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = tuple(int(seed) for seed in seeds)
        self._streams = [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        return f"Noise({list(self.seeds)})"

    def __call__(self, like: Tensor) -> Tensor:
        """(B, ...) standard normal of like's shape, dtype and device. Raises ValueError unless B = len(self)."""
        if len(like) != len(self):
            raise ValueError(f"noise of {len(self)} seeds was asked for {len(like)} rows: give one seed for every row")
        rows = [torch.randn(like.shape[1:], generator=stream) for stream in self._streams]
        return torch.stack(rows).to(like)

    def child(self, name: str) -> "Noise":
        """An independent stream, the same for the same seeds and name, however much was drawn here before."""
        return Noise([_hash(f"{seed}/{name}") for seed in self.seeds])

    def rows(self, index: slice | Iterable[int] | Tensor) -> "Noise":
        """The streams of some rows, by slice, indices or a bool mask: shared, a draw here moves them on there too."""
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            index = index.nonzero().flatten()
        chosen = range(len(self))[index] if isinstance(index, slice) else [int(i) for i in index]
        part = Noise([])
        part.seeds = tuple(self.seeds[i] for i in chosen)
        part._streams = [self._streams[i] for i in chosen]
        return part


def varied(noise: Tensor, other: Tensor, strength: float) -> Tensor:
    """Noise on the way from one to another, both (B, ..., h, w): at strength 0 the one, at 1 the other.

    Spherical interpolation of every column of the image on its own, which is what A1111 does with its variation seed
    (modules/rng.py), so that its settings give its noise. Where two columns are as good as parallel it is linear; no
    column becomes longer than the longer of the two, as it would there where they are nearly opposite.
    """
    lengths = noise.norm(dim=-2, keepdim=True), other.norm(dim=-2, keepdim=True)
    cosine = ((noise * other).sum(-2, keepdim=True) / (lengths[0] * lengths[1]).clamp(min=1e-12)).clamp(-1, 1)
    angle = cosine.acos()
    mixed = (((1 - strength) * angle).sin() * noise + (strength * angle).sin() * other) / angle.sin()
    mixed = torch.where(cosine.abs() > 0.9995, torch.lerp(noise, other, strength), mixed)
    return mixed * (torch.maximum(*lengths) / mixed.norm(dim=-2, keepdim=True).clamp(min=1e-12)).clamp(max=1)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")  # 48 bits: JSON carries it exactly
