"""Scenes as tensors: their captions in tokens, what each token is about, and what stands where.

Everything that a denoiser is trained on beside the image's latents comes from here, for scenes that are drawn while it
trains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.text import LENGTH, build_tokenizer
from world.captions import Caption, describe
from world.render import Rendering
from world.scene import COLOURS, GROUNDS, MATERIALS, SHAPES, SIZES, SKIES, Scene

MAP = 32  # cells a side of the maps
BINS = 8  # of places, across and down the image
LINKS = 3  # words of relations and places that are kept of a caption
MOST = 4  # solids
SENTENCES = Path(__file__).parents[1] / "bench" / "sentences.json"  # on which networks are measured


@lru_cache(maxsize=4096)
def _ids(word: str) -> tuple[int, ...]:
    return tuple(_tokenizer()(word)["input_ids"][1:-1])


@lru_cache
def _tokenizer():
    return build_tokenizer()


@lru_cache
def held_out_sentences() -> frozenset[tuple[str, ...]]:
    """The sentences on which networks are measured, by their words: no network is trained on one of them."""
    return frozenset(plain_words(one["text"]) for one in json.loads(SENTENCES.read_text(encoding="utf-8")))


def plain_words(text: str) -> tuple[str, ...]:
    """Without marks and capitals."""
    return tuple(re.findall(r"[^\W_]+", text.lower()))


def training_caption(scene: Scene, rng: np.random.Generator) -> Caption:
    """A caption in any style that is none of the held-out sentences."""
    while True:
        caption = describe(scene, rng, "any")
        if plain_words(caption.text) not in held_out_sentences():
            return caption


def caption_arrays(scene: Scene, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One caption of a scene.

    tokens (LENGTH,) int16; owners (LENGTH,) int8: the solids that a token is about, bit i for solid i, for words of
    relations and places those that they place; ends (4,) int8: where the last word that describes each solid stands, of
    this solid alone if there is one, 0 where there is no such solid: the text encoder reads from left to right, and
    knows all of the solid there; alone (4,) bool: whether that word is about this solid only; links (3,) int8: where
    words of relations and places stand, 0 where there are fewer; subjects (3,) int8: the solid that each of them
    places, -1 where that is not one solid. Raises ValueError if the caption is too long.
    """
    caption = training_caption(scene, rng)
    tokenizer = _tokenizer()
    if len(caption.words) > LENGTH - 2:
        raise ValueError(f"a caption is longer than {LENGTH} tokens: {caption.text!r}")
    tokens = np.full(LENGTH, tokenizer.eos_token_id, np.int16)
    owners = np.zeros(LENGTH, np.int8)
    ends, links = np.zeros(MOST, np.int8), np.zeros(LINKS, np.int8)
    alone, subjects = np.zeros(MOST, bool), np.full(LINKS, -1, np.int8)
    tokens[0] = tokenizer.bos_token_id
    for at, (word, about) in enumerate(zip(caption.words, caption.owners, strict=True), 1):
        (tokens[at],) = _ids(word)
        owners[at] = _bits(about)
        for i in about:
            if len(about) == 1 or not alone[i]:
                ends[i], alone[i] = at, len(about) == 1
    for at, about in caption.links:
        owners[at + 1] = _bits(about)
    for k, (at, about) in enumerate(caption.links[:LINKS]):
        links[k], subjects[k] = at + 1, about[0] if len(about) == 1 else -1
    return {
        "tokens": tokens, "owners": owners, "ends": ends, "alone": alone, "links": links, "subjects": subjects,
    }  # fmt: skip


def _bits(solids: tuple[int, ...]) -> int:
    return sum(1 << i for i in solids)


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
