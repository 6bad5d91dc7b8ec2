"""Scenes as tensors: their captions in tokens, what each token is about, and what stands where.

Everything that a denoiser is trained on beside the image's latents comes from here, for scenes that are drawn while it
trains.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.text import LENGTH, build_tokenizer
from world.captions import RELATION_WORDS, SHAPE_WORDS, describe
from world.render import Rendering
from world.scene import COLOURS, GROUNDS, MATERIALS, SHAPES, SIZES, SKIES, Scene

MAP = 32  # cells a side of the maps
BINS = 8  # of places, across and down the image
LINKS = 3  # words of relations that are kept of a caption
MOST = 4  # solids
_SMALL = {"the", "to", "of", "in", "on", "and", "a"}
_RELATIONS = frozenset(w for phrases in RELATION_WORDS.values() for p in phrases for w in p.split()) - _SMALL
_NOUNS = frozenset(word for words in SHAPE_WORDS.values() for word in words)


@lru_cache(maxsize=4096)
def _spelt(word: str) -> tuple[int, ...]:
    return tuple(_tokenizer()(word)["input_ids"][1:-1])


@lru_cache
def _tokenizer():
    return build_tokenizer()


def caption_arrays(scene: Scene, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One caption of a scene.

    tokens (LENGTH,) int16; owners (LENGTH,) int8: the solids that a token describes, bit i for solid i; nouns (4,)
    int8: where the word of each solid's shape stands, 0 where it is not named; alone (4,) bool: whether that word is
    about this solid only; links (3,) int8: where words of relations stand, 0 where there are fewer; subjects (3,)
    int8: the solid that each of them is said of, -1 where that is not one solid.
    """
    caption = describe(scene, rng)
    tokenizer = _tokenizer()
    tokens = np.full(LENGTH, tokenizer.eos_token_id, np.int16)
    owners = np.zeros(LENGTH, np.int8)
    nouns, links = np.zeros(MOST, np.int8), np.zeros(LINKS, np.int8)
    alone, subjects = np.zeros(MOST, bool), np.full(LINKS, -1, np.int8)
    tokens[0] = tokenizer.bos_token_id
    at, last, k = 1, 0, 0
    for word, about in zip(caption.words, caption.owners, strict=True):
        bits = _bits(about)
        for token in _spelt(word):
            if at >= LENGTH - 1:
                raise ValueError(f"a caption is longer than {LENGTH} tokens: {caption.text!r}")
            tokens[at], owners[at] = token, bits
            at += 1
        for i in range(MOST):
            if bits >> i & 1 and not nouns[i] and _singular(word) in _NOUNS:
                nouns[i], alone[i] = at - 1, bits == 1 << i
        if not bits and word in _RELATIONS and k < LINKS and last:
            links[k], owners[at - 1] = at - 1, last
            subjects[k] = last.bit_length() - 1 if last & (last - 1) == 0 else -1
            k += 1
        last = bits or last
    return {
        "tokens": tokens, "owners": owners, "nouns": nouns, "alone": alone, "links": links, "subjects": subjects,
    }  # fmt: skip


def _bits(about: int | Collection[int] | None) -> int:
    if about is None:
        return 0
    return 1 << about if isinstance(about, int) else sum(1 << i for i in about)


def _singular(word: str) -> str:
    return word if word in _NOUNS else word.removesuffix("s").removesuffix("e") if word not in _NOUNS else word


def scene_arrays(scenes: Sequence[Scene], rng: np.random.Generator, captions: int) -> dict[str, Tensor]:
    """Scenes with `captions` captions each.

    The arrays of `caption_arrays` with captions as their second dimension; attributes (B, 4, 4) int8: shape, colour,
    size, material of each solid, -1 where there is none; place (B, 3) int8: ground, sky, number of solids - 1.
    """
    rows = [[caption_arrays(scene, rng) for _ in range(captions)] for scene in scenes]
    arrays = {name: np.array([[one[name] for one in row] for row in rows]) for name in rows[0][0]}
    attributes = np.full((len(scenes), MOST, 4), -1, np.int8)
    colours, sizes = list(COLOURS), list(SIZES)
    for b, scene in enumerate(scenes):
        for i, s in enumerate(scene.solids):
            index = SHAPES.index(s.shape), colours.index(s.colour), sizes.index(s.size), MATERIALS.index(s.material)
            attributes[b, i] = index
    place = [[GROUNDS.index(s.ground), SKIES.index(s.sky), len(s.solids) - 1] for s in scenes]
    arrays |= {"attributes": attributes, "place": np.array(place, np.int8)}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def map_arrays(rendering: Rendering) -> dict[str, Tensor]:
    """Exact maps at 32 x 32: mask (B, 32, 32) int8, the number of the solid, -1 ground, -2 sky; surface (B, 4, 32, 32)
    int8: normals in camera axes and nearness, times 127; where (B, 4, 2) int8: the middle of each solid's visible part,
    across and down, in 0, ..., BINS - 1, -1 where nothing of it is visible."""
    step = rendering.instances.shape[-1] // MAP
    mask = rendering.instances[:, step // 2 :: step, step // 2 :: step].to(torch.int8)
    smooth = F.avg_pool2d(torch.cat([rendering.normals, rendering.near[:, None]], 1), step)
    at = (torch.arange(MAP, device=mask.device) + 0.5) / MAP
    inside = (mask[:, None] == torch.arange(MOST, device=mask.device).view(-1, 1, 1)).float()  # (B, 4, 32, 32)
    cells = inside.sum((2, 3))
    sums = torch.stack([(inside.sum(2) * at).sum(-1), (inside.sum(3) * at).sum(-1)], -1)
    middle = sums / cells.clamp(min=1)[..., None]
    where = torch.where(cells[..., None] > 0, (middle * BINS).clamp(max=BINS - 1), -1.0)
    return {
        "mask": mask,
        "surface": (smooth * 127).round().clamp(-127, 127).to(torch.int8),
        "where": where.to(torch.int8),
    }
