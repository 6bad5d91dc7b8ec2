"""A small contrastive model of images and words, for guidance: how well a text goes with an image.

It lies beside a backbone's weights as the other guiding networks do (`backbones/guiding_networks.py`), and knows one
world only, as they do.
As in FILIP (Yao et al. 2021, arXiv 2111.07783, Section 3.1) an image is not one vector but one for every cell, a text
one for every word, and each word looks for its cell: what is to be red is distinguished from what is red, and the
gradient arrives where the word is about.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.convolutions import conv, where

LONGEST = 55  # words of a text


class Contrastive(nn.Module):
    """Images (B, 3, H, W) in [0, 1], H and W multiples of 8, and texts -> scores in [-1, 1].

    words: all that it knows; a comma is a word.
    """

    WIDTHS, JOINT, LAYERS = (64, 96), 64, 2

    def __init__(self, words: Sequence[str]):
        super().__init__()
        self.names = tuple(words)
        fine, coarse = self.WIDTHS
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), conv(48, fine))
        self.blocks = nn.ModuleList([_block(fine), _block(coarse), _block(coarse)])
        self.down = conv(fine + 2, coarse, 2)
        self.cell = nn.Conv2d(coarse, self.JOINT, 1)
        self.embedding = nn.Embedding(len(self.names) + 1, self.JOINT, padding_idx=0)
        self.place = nn.Parameter(0.1 * torch.randn(LONGEST, self.JOINT))
        layer = nn.TransformerEncoderLayer(self.JOINT, 4, 2 * self.JOINT, 0.0, "gelu", batch_first=True,
                                           norm_first=True)  # fmt: skip
        self.text = nn.TransformerEncoder(layer, self.LAYERS, nn.LayerNorm(self.JOINT), enable_nested_tensor=False)
        self.word = nn.Linear(self.JOINT, self.JOINT)
        self.sharpness = nn.Parameter(torch.tensor(10.0))  # of a word's look at the cells

    def score(self, images: Tensor, text: str) -> Tensor:
        """How well the text goes with each image (B,). Raises ValueError as `parse` does."""
        ids = torch.tensor([self.parse(text)], device=self.place.device)
        return self.all(self.cells(self.image_features(images)), *self.read(ids))[:, 0]

    def unreadable(self, text: str) -> str:
        """Why it cannot read a text, in words to follow its name; "" where it can."""
        words = _words(text)
        if unknown := [word for word in words if word not in self.names]:
            return f"does not know {unknown[0]!r}: it knows {', '.join(name for name in self.names if name != ',')}"
        if not 0 < len(words) <= LONGEST:
            return f"was given {len(words)} words: write 1 to {LONGEST}"
        return ""

    def parse(self, text: str) -> list[int]:
        """The words of a text by their numbers, from 1. Raises ValueError where it is `unreadable`."""
        if why := self.unreadable(text):
            raise ValueError(f"the contrastive model {why}")
        return [self.names.index(word) + 1 for word in _words(text)]

    def image_features(self, images: Tensor) -> Tensor:
        """Features of each cell of 8 x 8 pixels, (B, C, h, w)."""
        h = self.stem((images - 0.45) * 4)
        h = F.silu(h + self.blocks[0](h))
        h = self.down(torch.cat([h, where(h)], 1))
        for block in self.blocks[1:]:
            h = F.silu(h + block(h))
        return h

    def cells(self, features: Tensor) -> Tensor:
        """A unit vector for each cell, (B, h w, JOINT)."""
        return F.normalize(self.cell(features).flatten(2).float(), dim=1).mT

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of words (N, L), 0 where there is none -> a unit vector of each (N, L, JOINT), its weight (N, L).

        All weigh the same: learned, weights were on colours and grounds, which are seen first, and shapes stayed
        unread.
        """
        nothing = ids == 0
        h = self.text(self.embedding(ids) + self.place[: ids.shape[1]], src_key_padding_mask=nothing)
        present = (~nothing).float()
        return F.normalize(self.word(h).float(), dim=2), present / present.sum(1, keepdim=True)

    def looks(self, cells: Tensor, words: Tensor) -> Tensor:
        """Cosines of an image's cells with its text's words: (B, h w, JOINT), (B, L, JOINT) -> (B, L, h w)."""
        return words @ cells.mT

    def own(self, cells: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """Scores of every image with its text (B,)."""
        return self._attended_score(self.looks(cells, words), weights)

    def all(self, cells: Tensor, words: Tensor, weights: Tensor) -> Tensor:
        """Scores of every image with every text (B, N)."""
        return self._attended_score(torch.einsum("bcd,nld->bnlc", cells, words), weights)

    def _attended_score(self, looks: Tensor, weights: Tensor) -> Tensor:
        """Of each word the cosine where it looks, by its weight: (..., L, h w), (..., L) -> (...)."""
        similarities = ((looks * self.sharpness).softmax(-1) * looks).sum(-1)
        return (similarities * weights).sum(-1)


def _block(width: int) -> nn.Sequential:
    last = nn.BatchNorm2d(width)
    nn.init.zeros_(last.weight)
    return nn.Sequential(conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), last)


def _words(text: str) -> list[str]:
    """Commas are words, too."""
    return re.findall(r"[^\W_]+|,", text.lower())
