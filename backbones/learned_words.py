"""Words of textual inversion (Gal et al. 2022): files of vectors, each read where the file's name stands in a prompt as
a word, as in A1111. Safetensors only. What is in them is known by their headers; `clip_encoder` reads the vectors.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from backbones.checkpoint_files import PICKLES, CheckpointError, shapes
from backbones.names import local
from backbones.single_file import origin
from common.weighted_text import plain

BOTH = ("clip_l", "clip_g")  # of SDXL's two text encoders
OF_A1111 = ("emb_params",)
FAMILY = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 1280: "the second text encoder of SDXL"}  # by width


@dataclass(frozen=True)
class LearnedWord:
    """name: of the file, without its suffix. sizes: key of a tensor -> (vectors, numbers in each). digest: of the file,
    as A1111 names it."""

    name: str
    file: Path
    sizes: tuple[tuple[str, tuple[int, int]], ...]
    digest: str

    @property
    def vectors(self) -> int:
        """As many places of a chunk it takes."""
        return self.sizes[0][1][0]

    def rows(self) -> list[Tensor]:
        """(vectors, D) of each text encoder that it is for."""
        tensors = load_file(self.file)
        return [tensors[key].float().reshape(size) for key, size in self.sizes]


@dataclass(frozen=True)
class LearnedWords:
    """Those that a text encoder may be given.

    id: of the checkpoint, for messages. folder: of it; files lie in `embeddings` beside it, and in
    $NINE_WAYS_EMBEDDINGS, else in `embeddings` where the app was started. widths: of its text encoders. most: tokens of
    a chunk.
    """

    id: str
    folder: Path
    widths: tuple[int, ...]
    most: int

    def files(self) -> dict[str, Path]:
        """By their names in small letters; of two of one name that beside the checkpoint, and no pickle."""
        found: dict[str, Path] = {}
        for home in (origin(self.folder).parent / "embeddings", _home()):
            every = sorted(home.rglob("*")) if home.is_dir() else []
            for file in (*(one for one in every if one.suffix == ".safetensors"),
                         *(one for one in every if one.suffix in PICKLES)):  # fmt: skip
                found.setdefault(file.stem.lower(), file)
        return found

    def split(self, text: str) -> Iterator[tuple[int, str, Path | None]]:
        """A text in its parts, in order: (place of its begin, part, the file that it names or None)."""
        done = 0
        if files := self.files():
            names = "|".join(re.escape(name) for name in sorted(files, key=len, reverse=True))
            for match in re.finditer(rf"(?<!\w)(?:{names})(?!\w)", text, re.IGNORECASE):
                yield done, text[done : match.start()], None
                yield match.start(), match[0], files[match[0].lower()]
                done = match.end()
        yield done, text[done:], None

    def in_text(self, text: str) -> tuple[LearnedWord, ...]:
        """Of a prompt, once each, those that can be read."""
        found = [self._opened(file) for file in self._named(text)]
        return tuple(one for one in found if isinstance(one, LearnedWord))

    def version(self, text: str) -> tuple[str, ...]:
        """Changes where the files of a prompt do, so that nothing is kept of what they were."""
        return tuple(word.digest for word in self.in_text(text))

    def wrong(self, text: str) -> list[str]:
        """What is wrong with those of a prompt that cannot be read, in words."""
        return [one for one in map(self._opened, self._named(text)) if isinstance(one, str)]

    def word(self, file: Path) -> LearnedWord:
        """Raises CheckpointError, in words, where it cannot be read."""
        found = self._opened(file)
        if isinstance(found, str):
            raise CheckpointError(found)
        return found

    def _named(self, text: str) -> list[Path]:
        return list(dict.fromkeys(file for _, _, file in self.split(plain(text)) if file is not None))

    def _opened(self, file: Path) -> LearnedWord | str:
        """Or what is wrong with it."""
        name = f"“{file.stem}” is a word of textual inversion"
        if file.suffix in PICKLES:
            return (f"{name}, and its file {file.name} is a pickle, which can run code when it is read: get or save it "
                    f"as {file.stem}.safetensors")  # fmt: skip
        try:
            stat = file.stat()
            word = _read(file, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            return f"{name}: {error}"
        widths = tuple(width for _, (_, width) in word.sizes)
        if widths != self.widths:
            return (f"{name} made for {_family(word)}: its vectors have {_listed(widths)} numbers, and {self.id} reads "
                    f"{_listed(self.widths)}. Choose a model that it was made for, or take the word out")  # fmt: skip
        if word.vectors > self.most:
            return f"{name} of {word.vectors} vectors, and a chunk of the prompt has {self.most} places"
        return word


@lru_cache(maxsize=256)
def _read(file: Path, _size: int, _time: int) -> LearnedWord:
    """Raises CheckpointError where the file is damaged, or not of textual inversion."""
    of_tensors = shapes(file)
    keys = next((keys for keys in (BOTH, OF_A1111) if set(keys) <= set(of_tensors)), tuple(of_tensors))
    if len(keys) != 1 and keys != BOTH:
        raise CheckpointError(f"{file.name} holds {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}: what is "
                              "read is one tensor of vectors (emb_params, or under the word), or clip_l and clip_g"
                              )  # fmt: skip
    sizes = [(key, (of_tensors[key][0] if len(of_tensors[key]) == 2 else 1, of_tensors[key][-1])) for key in keys]
    if any(len(of_tensors[key]) not in (1, 2) for key in keys) or len({count for _, (count, _) in sizes}) > 1:
        shown = ", ".join(" x ".join(map(str, of_tensors[key])) for key in keys)
        raise CheckpointError(f"{file.name} holds tensors of {shown} numbers, and these are no vectors of one word")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LearnedWord(file.stem, file, tuple(sizes), digest)


def _home() -> Path:
    return local(os.environ.get("NINE_WAYS_EMBEDDINGS") or "embeddings")


def _family(word: LearnedWord) -> str:
    if len(word.sizes) > 1:
        return "SDXL"
    return FAMILY.get(word.sizes[0][1][1], "another text encoder")


def _listed(widths: Sequence[int]) -> str:
    return " and ".join(f"{width:,}" for width in widths)
