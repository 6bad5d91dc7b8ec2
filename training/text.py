"""Tokenizers, and captions as arrays for the networks that read the plain style.

A tokenizer is CLIP's kind (byte-level BPE with end-of-word marks) over this world's captions: every word of its
vocabulary is one token, every other word is spelt in bytes, nothing is unknown. The first networks, and what is trained
beside them, know the words of the plain style alone (`plain_tokenizer`).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from training import data
from world.captions import LONGEST, PLAIN_VOCABULARY, Caption, describe
from world.scene import COLOURS, GROUNDS, MATERIALS, SHAPES, SIZES, SKIES, draw
from world.vocabulary import VOCABULARY

LENGTH = LONGEST + 2  # tokens of a text: 64
PLAIN_LENGTH = 56  # of the first networks
START, END = "<|startoftext|>", "<|endoftext|>"


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins of GPT-2's byte-level alphabet."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def plain_tokenizer() -> CLIPTokenizer:
    """The tokenizer of the first networks."""
    return build_tokenizer(PLAIN_VOCABULARY, PLAIN_LENGTH)


def build_tokenizer(words: Collection[str] = VOCABULARY, length: int = LENGTH) -> CLIPTokenizer:
    """Merges that join each of the words from its letters, so that it ends as one token; texts of `length` tokens."""
    symbols = _byte_symbols()
    vocabulary = {s: i for i, s in enumerate(symbols + [s + "</w>" for s in symbols])}
    merges: list[tuple[str, str]] = []
    for word in sorted(w for w in words if len(w) > 1):
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            # Join from the end: such pieces occur in this word's ending only, so words do not break each other.
            pair = (pieces[-2], pieces[-1])
            if pair not in merges:
                merges.append(pair)
                vocabulary.setdefault("".join(pair), len(vocabulary))
            pieces[-2:] = ["".join(pair)]
    for special in (START, END):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=length,
    )


@dataclass(frozen=True)
class Words:
    """Plain captions of a split as arrays: N scenes, K captions each, L = 56 tokens.

    tokens (N, K, L) int16; owners (N, K, L) int8: the solid a token describes, -1 none; nouns (N, K, 4) int8:
    where the shape word of each solid stands, 0 where there is no such solid; attributes (N, 4, 4) int8: shape, colour,
    size, material of each solid, -1 where there is none; place (N, 3) int8: ground, sky, number of solids - 1.
    """

    tokens: np.ndarray
    owners: np.ndarray
    nouns: np.ndarray
    attributes: np.ndarray
    place: np.ndarray


def _rows(split: str, start: int, stop: int, per_scene: int) -> tuple[np.ndarray, ...]:
    tokenizer = plain_tokenizer()
    ids = {word: tokenizer(word)["input_ids"][1:-1] for word in PLAIN_VOCABULARY}
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    n = stop - start
    tokens = np.full((n, per_scene, PLAIN_LENGTH), last, np.int16)
    owners = np.full((n, per_scene, PLAIN_LENGTH), -1, np.int8)
    nouns = np.zeros((n, per_scene, 4), np.int8)
    attributes = np.full((n, 4, 4), -1, np.int8)
    place = np.zeros((n, 3), np.int8)
    colours, sizes = list(COLOURS), list(SIZES)
    for row in range(n):
        scene = draw(split, start + row)
        place[row] = GROUNDS.index(scene.ground), SKIES.index(scene.sky), len(scene.solids) - 1
        for i, s in enumerate(scene.solids):
            attributes[row, i] = (
                SHAPES.index(s.shape),
                colours.index(s.colour),
                sizes.index(s.size),
                MATERIALS.index(s.material),
            )
        for k in range(per_scene):
            caption: Caption = describe(scene, np.random.default_rng([start + row, k]))
            at = 1
            tokens[row, k, 0] = first
            for word, about in zip(caption.words, caption.owners, strict=True):
                owner = about[0] if about else None  # the plain style names solids one by one
                for token in ids[word]:
                    tokens[row, k, at] = token
                    owners[row, k, at] = -1 if owner is None else owner
                    at += 1
                if owner is not None and nouns[row, k, owner] == 0 and _is_noun(word):
                    nouns[row, k, owner] = at - 1
    return tokens, owners, nouns, attributes, place


def _is_noun(word: str) -> bool:
    from world.captions import SHAPE_WORDS

    return any(word in words for words in SHAPE_WORDS.values())


def words(split: str, scenes: int, per_scene: int = 6, workers: int = os.cpu_count() or 1) -> Words:
    """The captions of scenes 0, ..., scenes - 1, made once and kept beside the renders."""
    path: Path = data.folder(split) / f"words_{scenes}_{per_scene}.npz"
    if not path.exists():
        edges = [*range(0, scenes, 500), scenes]
        with ProcessPoolExecutor(workers) as pool:
            jobs = [pool.submit(_rows, split, a, b, per_scene) for a, b in pairwise(edges) if a < b]
            parts = [job.result() for job in jobs]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{n: np.concatenate([p[i] for p in parts]) for i, n in enumerate(Words.__annotations__)})
    loaded = np.load(path)
    return Words(**{name: loaded[name] for name in Words.__annotations__})
