"""Small networks that read a backbone's images, for guidance: they lie beside its weights, in folders of their own.

`reader/` (PerceptionModel) reads a clean image: depth, what stands where, features. `classifier/` reads noisy latents,
at any noise level: what the image will show. `contrastive/` (`backbones/contrastive.py`) reads a clean image beside a
text: whether the two go together. Each folder holds `config.json`, with the words that the network knows, and
`model.safetensors`. A backbone that has one names it in `offers`. Gradients run through all of them.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contrastive import Contrastive
from backbones.convolutions import conv, where


@dataclass(frozen=True, eq=False)
class PerceptionMaps:
    """What an image of H x W pixels shows, as maps of H / 2 x W / 2.

    nearness (B, 1, h, w): 3 metres by the depth, 0 in the sky. classes (B, K, h, w): scores of what stands there.
    features: of each scale, from fine to coarse, (B, C, h, w) each.
    """

    nearness: Tensor
    classes: Tensor
    features: list[Tensor]


class PerceptionModel(nn.Module):
    """Images (B, 3, H, W) in [0, 1], H and W multiples of 16 -> PerceptionMaps. Trained on clean and on soft images."""

    def __init__(self, classes: Sequence[str], widths: Sequence[int] = (24, 48, 96, 128), fused: int = 32):
        super().__init__()
        self.names = tuple(classes)
        first, *others = widths
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), conv(12, first))
        self.down = nn.ModuleList(
            nn.Sequential(conv(a + 2 * (i == 0), b, 2), conv(b, b)) for i, (a, b) in enumerate(zip(widths, others))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, fused, 1) for width in widths)
        self.fuse = nn.ModuleList(conv(fused, fused) for _ in others)
        self.head = nn.Conv2d(fused, 1 + len(self.names), 3, 1, 1)

    def forward(self, x: Tensor) -> PerceptionMaps:
        h = self.stem((x - 0.45) * 4)
        features = [h]
        for i, down in enumerate(self.down):
            h = down(torch.cat([h, where(h)], 1) if i == 0 else h)  # depth depends on the height in the image
            features.append(h)
        y = self.lateral[-1](h)
        for i in reversed(range(len(self.fuse))):
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear") + self.lateral[i](features[i])
            y = self.fuse[i](F.silu(y))
        nearness, classes = self.head(y).float().split((1, len(self.names)), 1)
        return PerceptionMaps(nearness, classes, [f.float() for f in features])


class NoiseLevelBlock(nn.Module):
    """Two convolutions, scaled and shifted by the noise level."""

    def __init__(self, width: int, embedding_width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))
        self.film = nn.Linear(embedding_width, 2 * width)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.film(level)[:, :, None, None].chunk(2, 1)
        y = self.convs[0](F.silu(self.norms[0](h)))
        return h + self.convs[1](F.silu(self.norms[1](y) * (1 + scale) + shift))


class Classifier(nn.Module):
    """Noisy latents x (B, 4, h, w), VE coordinates, at levels sigma (B,) -> scores (B, N) of the words, in their order.

    groups: lists of words. Of the first each may hold or not, on its own; of every other exactly one holds.
    other_words: a word that people use -> the one it is known by.
    """

    WIDTHS, EMBEDDING_WIDTH = (32, 64, 128), 64
    LEVELS = (0.02, 60.0)  # that it is trained at; it takes one beyond for the last

    def __init__(self, groups: Sequence[Sequence[str]], other_words: dict[str, str] | None = None, channels: int = 4):
        super().__init__()
        self.groups, self.other_words = [tuple(group) for group in groups], dict(other_words or {})
        embedding_width, widths = self.EMBEDDING_WIDTH, self.WIDTHS
        self.level = nn.Sequential(
            nn.Linear(2 * 16, embedding_width), nn.SiLU(), nn.Linear(embedding_width, embedding_width), nn.SiLU()
        )
        self.stem = nn.Conv2d(channels + 2, widths[0], 3, 1, 1)
        self.blocks = nn.ModuleList(NoiseLevelBlock(width, embedding_width) for width in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.up = nn.Conv2d(widths[2], widths[1], 1)
        self.fuse = NoiseLevelBlock(widths[1], embedding_width)
        self.there = nn.Conv2d(widths[1], len(self.groups[0]), 1)  # at every cell
        self.gain = nn.Parameter(torch.ones(len(self.groups[0])))
        self.rate = nn.Linear(widths[2], len(self.groups[0]))  # how often, where little is seen
        self.whole = nn.Linear(widths[2], sum(len(group) for group in self.groups[1:]))
        assert self.there.bias is not None
        nn.init.constant_(self.there.bias, -4.0)  # most things are not there

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.maps(x, sigma)[1]

    def maps(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the first group at every cell (B, K, h / 2, w / 2), and of all words for the image (B, N)."""
        s = sigma.reshape(-1, 1, 1, 1)
        waves = sigma.reshape(-1, 1).clamp(*self.LEVELS).log() * 2 ** torch.linspace(
            -3, 2, 16, device=x.device
        )  # (B, 16)
        level = self.level(torch.cat([waves.sin(), waves.cos()], 1).to(x.dtype))
        h = x / (1 + s * s).sqrt()
        h = self.stem(torch.cat([h, where(h)], 1))
        middle = self.blocks[1](self.down[0](self.blocks[0](h, level)), level)
        coarse = self.blocks[2](self.down[1](middle), level)
        cells = self.fuse(middle + F.interpolate(self.up(coarse), size=middle.shape[2:]), level)
        there, pooled = self.there(cells).float(), coarse.float().mean((2, 3)).to(coarse.dtype)
        present = there.flatten(2).logsumexp(2) * self.gain + self.rate(pooled).float()  # there if it is at any cell
        return there, torch.cat([present, self.whole(pooled).float()], 1)

    def log_p(self, x: Tensor, sigma: Tensor, words: Sequence[str]) -> Tensor:
        """log p(words | x) (B,): the sum over words from `parse`."""
        log_probabilities, start = [], 0
        scores = self(x, sigma)
        for i, group in enumerate(self.groups):
            part = scores[:, start : start + len(group)]
            log_probabilities.append(F.logsigmoid(part) if i == 0 else part.log_softmax(1))
            start += len(group)
        known = [word for group in self.groups for word in group]
        return torch.cat(log_probabilities, 1)[:, [known.index(word) for word in words]].sum(1)

    def parse(self, text: str) -> list[str]:
        """What it can say of a text: "a red ball on snow" -> ["red sphere", "snow"].

        Raises ValueError with the words it knows, where there is another or none.
        """
        return parse(text, [word for group in self.groups for word in group], self.other_words)


SILENT = frozenset("a an and at by in is of on one image photo sky floor ground there the under with".split())


def parse(text: str, known: Sequence[str], other_words: dict[str, str]) -> list[str]:
    """The known words of a text, in their order, pairs ("red cube") before single ones; see Classifier.parse."""
    recognised: list[str] = []
    for part in text.lower().split(","):
        remaining = [other_words.get(word, word) for word in re.findall(r"\w+", part) if word not in SILENT]
        while remaining:
            take = 2 if len(remaining) > 1 and " ".join(remaining[:2]) in known else 1
            recognised.append(" ".join(remaining[:take]))
            remaining = remaining[take:]
    unknown = [word for word in recognised if word not in known]
    if unknown or not recognised:
        near = get_close_matches(unknown[0], known, 1, 0.7) if unknown else []
        trouble = f"does not know {unknown[0]!r}" if unknown else f"is asked nothing by {text!r}"
        perhaps = f" (perhaps {near[0]}?)" if near else ""
        pair = next((f', and two of them as in "{word}"' for word in known if " " in word), "")
        words = ", ".join(word for word in known if " " not in word)
        raise ValueError(f"the classifier {trouble}{perhaps}: it knows {words}{pair}")
    return list(dict.fromkeys(recognised))


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "perception_model": PerceptionModel, "classifier": Classifier, "contrastive": Contrastive,
}  # fmt: skip
#: Where a network lies under another name: names of files are part of the revision of the weights, which images carry.
FOLDERS = {"perception_model": "reader"}


def folder_of(checkpoint: Path, name: str) -> Path:
    """The folder of the network `name` of NETWORKS beside a checkpoint's weights."""
    return checkpoint / FOLDERS.get(name, name)


def has(checkpoint: Path, name: str) -> bool:
    return (folder_of(checkpoint, name) / "model.safetensors").exists()


def load(checkpoint: Path, name: str, device: torch.device | str = "cpu") -> Any:
    """The network `name` of NETWORKS beside a checkpoint, frozen. Raises FileNotFoundError where there is none."""
    from safetensors.torch import load_file

    here = folder_of(checkpoint, name)
    network = NETWORKS[name](**json.loads((here / "config.json").read_text()))
    weights = {key: value.float() for key, value in load_file(here / "model.safetensors").items()}
    counters = {key: value for key, value in network.state_dict().items() if not value.is_floating_point()}
    network.load_state_dict(weights | counters)
    return network.to(device).eval().requires_grad_(False)


def begun(checkpoint: Path, name: str, **config: Any) -> nn.Module:
    """What a training begins with: the network that lies there, if it was made with this config, else a fresh one."""
    config_path = folder_of(checkpoint, name) / "config.json"
    if has(checkpoint, name) and json.loads(config_path.read_text()) == json.loads(json.dumps(config)):
        network: nn.Module = load(checkpoint, name)
        return network.train().requires_grad_(True)
    return NETWORKS[name](**config)


def save(checkpoint: Path, name: str, weights: dict[str, Tensor], **config: Any) -> Path:
    """Writes what `load` reads: the weights in half precision, without counters."""
    from safetensors.torch import save_file

    here = folder_of(checkpoint, name)
    here.mkdir(parents=True, exist_ok=True)
    (here / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    half_weights = {key: value.half().contiguous() for key, value in weights.items() if value.is_floating_point()}
    save_file(half_weights, here / "model.new")
    (here / "model.new").replace(here / "model.safetensors")
    return here / "model.safetensors"
