"""The contrastive model's training: renders beside their captions, and captions that are nearly true.

    python -m training contrastive --images 30000 --threads 1     train, in pieces
    python -m training.contrastive                                  ship what was trained last
    python -m training.contrastive --check                          validate what is shipped, on renders never seen

CLIP's symmetric loss (Radford et al. 2021, Figure 3) over a batch; each image also has to discriminate its caption from
one in which an attribute is another or two solids have swapped theirs: the same words in another order. Two teachers,
as of the denoiser, say what a few minutes would not teach: which cells each word is about, from the instance maps, and
what is to be read from a cell. Their heads are not shipped."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from backbones import STILL_LIFE
from backbones.guiding_networks import begun, load, save
from training import data
from training.loop import averaged_network, grid
from training.softening import soften
from training.text import Words, plain_tokenizer, words
from world.captions import COLOUR_WORDS, MATERIAL_WORDS, PLAIN_VOCABULARY, SHAPE_WORDS, SIZE_WORDS
from world.render import render
from world.scene import GROUNDS, SKIES, draw

KNOWN = tuple(sorted(PLAIN_VOCABULARY))
TABLES = (SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS, MATERIAL_WORDS)  # in the order of Words.attributes
ASKED = (*(len(table) for table in TABLES), len(GROUNDS), len(SKIES))
NAMED = [[[KNOWN.index(word) + 1 for word in said] for said in table.values()] for table in TABLES]
ATTRIBUTE = np.full(len(KNOWN) + 1, -1)  # of a word: its place in TABLES
for place, values in enumerate(NAMED):
    ATTRIBUTE[[one for said in values for one in said]] = place


def numbered(captions: Words) -> tuple[np.ndarray, np.ndarray]:
    """Captions (N, K, L) by the numbers of KNOWN from 1, 0 after their end; and the solid of each word, -1 for none."""
    tokenizer = plain_tokenizer()
    table = np.zeros(len(tokenizer), np.uint8)
    for n, word in enumerate(KNOWN):
        table[tokenizer(word)["input_ids"][1]] = n + 1
    return table[captions.tokens[:, :, 1:]], captions.owners[:, :, 1:]


def nearly(ids: np.ndarray, owners: np.ndarray, solids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A caption (L,) that is false of its scene by one attribute, and how: "swapped" between two solids, or "changed".

    solids (4, 4): their attributes, -1 where there is none. The same caption and "" where nothing could be done.
    """
    there = [i for i in range(len(solids)) if solids[i, 0] >= 0]
    pairs = [(i, j) for i in there for j in there if i < j and (solids[i, :2] != solids[j, :2]).all()]
    kinds = {tuple(solids[i, :2]) for i in there}
    if pairs and rng.random() < 0.6:
        i, j = pairs[rng.integers(len(pairs))]
        crossed = {(solids[i, 0], solids[j, 1]), (solids[j, 0], solids[i, 1])}
        if not crossed & kinds:
            both = _renamed(_renamed(ids, owners == i, 1, solids[j, 1], rng), owners == j, 1, solids[i, 1], rng)
            return both, "swapped"
    i = there[rng.integers(len(there))]
    said = sorted({ATTRIBUTE[one] for one in ids[owners == i]} - {-1})
    k = said[rng.integers(len(said))]
    others = [value for value in range(ASKED[k]) if value != solids[i, k]]
    changed = solids[i].copy()
    changed[k] = others[rng.integers(len(others))]
    if any((changed[said] == solids[j][said]).all() for j in there):
        return ids, ""
    return _renamed(ids, owners == i, k, changed[k], rng), "changed"


def _renamed(ids: np.ndarray, mine: np.ndarray, k: int, value: int, rng: np.random.Generator) -> np.ndarray:
    names = NAMED[k][value]
    return np.where(mine & (ATTRIBUTE[ids] == k), names[rng.integers(len(names))], ids)


class Taught(nn.Module):
    """What is trained: the network, the scale of its scores, and the head of a teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.network = begun(STILL_LIFE, "contrastive", words=KNOWN)
        self.scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))  # CLIP's
        self.tells = nn.Conv2d(self.network.WIDTHS[-1], sum(ASKED), 1)


class ContrastiveSpec:
    name, rows, rate = "contrastive", 32, 2e-3

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = Taught().to(memory_format=torch.channels_last)
        self.rgb, self.masks = data.images("train"), data.instances("train")[:, 1::2, 1::2]
        captions = words("train", len(self.rgb))
        self.ids, self.owners = numbered(captions)
        self.attributes, self.place = captions.attributes, captions.place
        self.held_out = trial("validation", 0, 330)

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        index = np.sort(rng.choice(len(self.rgb), self.rows, replace=False))
        k = rng.integers(self.ids.shape[1], size=self.rows)
        ids, owners = self.ids[index, k], self.owners[index, k]
        false = [nearly(*row, rng)[0] for row in zip(ids, owners, self.attributes[index], strict=True)]
        x = soften(_pixels(self.rgb[index]).to(device), rng) if rng.random() < 0.75 else _pixels(self.rgb[index])
        if rng.random() < 0.25:  # a prediction early in a run
            factor = int(rng.choice((2, 4, 8)))
            x = F.interpolate(F.avg_pool2d(x, factor), size=x.shape[2:], mode="bilinear")
        longest = int((ids > 0).sum(1).max())
        arrays = {
            "ids": ids[:, :longest], "false": np.stack(false)[:, :longest], "owners": owners[:, :longest],
            "masks": self.masks[index], "attributes": self.attributes[index], "place": self.place[index],
        }  # fmt: skip
        tensors = {name: torch.from_numpy(array.astype(np.int64)).to(device) for name, array in arrays.items()}
        return {"x": x.to(device).contiguous(memory_format=torch.channels_last), **tensors}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        model, b = network.network, len(batch["x"])
        features = model.image_features(batch["x"])
        cells, read = model.cells(features), model.read(batch["ids"])
        scale = network.scale.clamp(max=4.6).exp()  # at most 100, as CLIP's
        scores, own = scale * model.all(cells, *read), torch.arange(b, device=features.device)
        differ = (batch["false"] != batch["ids"]).any(1)
        beside = (scale * model.own(cells, *model.read(batch["false"]))).masked_fill(~differ, -torch.inf)
        parts = {
            "images": F.cross_entropy(torch.cat([scores, beside[:, None]], 1), own),
            "texts": F.cross_entropy(scores.T, own),
            "nearly": 4 * F.softplus(beside - scores.diagonal()).mean(),  # others of a batch differ in what is easier
            "looking": looking(scale * model.looks(cells, read[0]), batch),
            "telling": telling(network.tells(features).float(), batch),
        }
        return torch.stack(list(parts.values())).sum(), {name: part.detach() for name, part in parts.items()}

    def check(self, network: nn.Module) -> dict[str, float]:
        return figures(network.network, *self.held_out)

    def preview(self, network: nn.Module) -> Image.Image:
        """Eight held-out renders, and under each where the last word but two of its caption looks."""
        x, ids, _, _ = (part[:8] for part in self.held_out)
        with torch.no_grad():
            model = network.network
            read, _ = model.read(ids)
            looks = model.looks(model.cells(model.image_features(x)), read)
        at = (ids > 0).sum(1) - 3
        one = looks[torch.arange(8), at].reshape(8, 1, 16, 16).clamp(0, 1)
        return grid(torch.cat([x, F.interpolate(one, scale_factor=8.0).expand(-1, 3, -1, -1)]))


def looking(looks: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """How little the words of a solid look at its cells: looks (B, L, cells), before the softmax over the cells."""
    on = batch["owners"][:, :, None] == batch["masks"].flatten(1)[:, None]  # (B, L, cells)
    visible = (batch["owners"] >= 0) & on.any(2)
    inside = (looks.log_softmax(2)).masked_fill(~on, -torch.inf).logsumexp(2)
    return -inside[visible].mean() if visible.any() else looks.sum() * 0


def telling(scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of what each cell says of itself: a solid's attributes, the ground, the sky."""
    owner = batch["masks"]  # (B, h, w)
    rows = torch.arange(len(owner), device=owner.device)[:, None, None]
    of_solids = batch["attributes"][rows, owner.clamp(min=0)].masked_fill(owner[..., None] < 0, -1)  # (B, h, w, 4)
    place = batch["place"][:, None, None].expand(-1, *owner.shape[1:], -1)
    targets = [
        *of_solids.unbind(3),
        place[..., 0].masked_fill(owner != -1, -1),
        place[..., 1].masked_fill(owner != -2, -1),
    ]
    each = [
        F.cross_entropy(part, target, ignore_index=-1, reduction="sum") / (target >= 0).sum().clamp(min=1)
        for part, target in zip(scores.split(ASKED, 1), targets, strict=True)
    ]
    return torch.stack(each).sum() / 2


Trial = tuple[Tensor, Tensor, Tensor, Tensor]


def trial(split: str, start: int, stop: int) -> Trial:
    """Renders (N, 3, 128, 128) of scenes of a split, a caption of each (N, L), one that is nearly true, and whether in
    that two solids' colours are swapped (N,) bool."""
    captions = words(split, stop)
    ids, owners = (part[start:stop, 0] for part in numbered(captions))
    rng = np.random.default_rng(start)
    false, how = zip(*(nearly(*row, rng) for row in zip(ids, owners, captions.attributes[start:stop], strict=True)))
    x = torch.cat(
        [render([draw(split, n) for n in range(i, min(i + 50, stop))], 128).rgb for i in range(start, stop, 50)]
    )
    texts = (torch.from_numpy(part.astype(np.int64)) for part in (ids, np.stack(false)))
    return x, *texts, torch.tensor([one == "swapped" for one in how])


OTHERS = 32


def figures(network: nn.Module, x: Tensor, ids: Tensor, false: Tensor, swapped: Tensor) -> dict[str, float]:
    """Parts of the images whose own caption is the best of 33, of the captions whose own image is (chance 1 / 33), and
    of the images that discriminate theirs from the nearly true one, a changed word or swapped colours (chance 1 /
    2)."""
    device = next(network.parameters()).device
    size = OTHERS + 1
    tables, better = [], []
    for part, t, f in zip(x.split(size), ids.to(device).split(size), false.to(device).split(size), strict=True):
        with torch.no_grad():
            cells = network.cells(network.image_features(part.to(device)))
            tables.append(network.all(cells, *network.read(t)).cpu())
            better.append(tables[-1].diagonal() > network.own(cells, *network.read(f)).cpu())
    whole, preferred, differ = [t for t in tables if len(t) == size], torch.cat(better), (ids != false).any(1)
    right = torch.arange(size)
    return {
        "caption": float(torch.stack([table.argmax(1) == right for table in whole]).float().mean()),
        "image": float(torch.stack([table.argmax(0) == right for table in whole]).float().mean()),
        "changed": float(preferred[differ & ~swapped].float().mean()),
        "swapped": float(preferred[swapped].float().mean()),
    }


def _pixels(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.contrastive", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="validate what is shipped, and write nothing")
    parser.add_argument("--scenes", type=int, default=660)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not args.check:
        weights = {
            k.removeprefix("network."): w
            for k, w in averaged_network("contrastive").items()
            if k.startswith("network.")
        }
        file = save(STILL_LIFE, "contrastive", weights, words=KNOWN)
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    results = figures(load(STILL_LIFE, "contrastive"), *trial("test", 0, args.scenes))
    print("  ".join(f"{name} {value:.3f}" for name, value in results.items()))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
