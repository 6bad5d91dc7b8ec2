"""The judge's training: renders only, softened the way a small diffusion model softens them.

Centres by the penalty-reduced focal loss of CenterNet (Zhou et al. 2019, eq. 1); attributes by cross-entropy, half of a
solid's weight around its centre and half over its visible cells; box, way to the centre and distance by absolute error.

    python -m training judge --pictures 190000        train, in pieces
    python -m training.judge                          ship what was trained last
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training import data
from training.loop import RUNS, grid
from world.eye import CELLS, NAMES, NEAREST, Network
from world.judge import WEIGHTS, accuracy, features
from world.render import render
from world.scene import FIRST_COLOURS, GROUNDS, HELD_OUT, SKIES, SPLITS, Scene, draw, random_scene, well_placed

MOST = 4  # solids of a scene
BALANCING = 8000  # scenes with the pairs that the training split lacks


@dataclass(frozen=True)
class Truth:
    """attributes (N, 4, 4): shape, colour, size, material of each solid, -1 where there is none; centres (N, 4, 3): u,
    v, distance in metres; place (N, 2): ground, sky."""

    attributes: Tensor
    centres: Tensor
    place: Tensor


def truth(split: str, count: int) -> Truth:
    """What scenes 0, ..., count - 1 of a split show; made once and kept."""
    path = RUNS / "judge" / f"truth_{split}_{count}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        told = shown([draw(split, n) for n in range(count)])
        torch.save((told.attributes, told.centres, told.place), path)
    return Truth(*torch.load(path, weights_only=True))


def shown(scenes: Sequence[Scene]) -> Truth:
    attributes, centres = np.full((len(scenes), MOST, 4), -1), np.zeros((len(scenes), MOST, 3), np.float32)
    for n, scene in enumerate(scenes):
        for i, solid in enumerate(scene.solids):
            attributes[n, i] = [values.index(getattr(solid, name)) for name, values in NAMES.items()]
            centres[n, i] = scene.place(i)
    place = torch.tensor([(GROUNDS.index(scene.ground), SKIES.index(scene.sky)) for scene in scenes])
    return Truth(torch.from_numpy(attributes), torch.from_numpy(centres), place)


def balancing(n: int) -> Scene:
    """Scene n of a set of its own, where every second solid has a colour-shape pair of `HELD_OUT`: what the generator
    must never see the judge must know as well as the rest, or it would take a purple cube for a blue one."""
    rng = np.random.default_rng([len(SPLITS), n])
    pairs = sorted(HELD_OUT)
    scene = random_scene(rng, int(rng.choice(4, p=(0.2, 0.4, 0.27, 0.13))) + 1, colours=FIRST_COLOURS)
    for _ in range(100):
        drawn = [pairs[rng.integers(len(pairs))] if rng.random() < 0.5 else None for _ in scene.solids]
        changed = scene
        for i, pair in enumerate(drawn):
            if pair is not None:
                changed = changed.with_solid(i, colour=pair[0], shape=pair[1])
        if well_placed(changed):
            return changed
    return scene


def balance(count: int = BALANCING) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Pictures (N, 128, 128, 3) uint8, instance maps (N, 32, 32) int8 and truth of the balancing scenes; made once and
    kept."""
    path = RUNS / "judge" / f"balance_{count}"
    if not path.with_suffix(".npz").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb, masks = [], []
        for start in range(0, count, 64):
            out = render([balancing(n) for n in range(start, min(start + 64, count))], data.SIZE)
            rgb.append((out.rgb * 255).round().byte().permute(0, 2, 3, 1).numpy())
            masks.append(out.instances[:, 2::4, 2::4].to(torch.int8).numpy())
            print(f"\rbalancing scenes: {start} of {count}", end="", flush=True)
        np.save(path.with_suffix(".npy"), np.concatenate(rgb))
        np.savez(path.with_suffix(".npz"), masks=np.concatenate(masks))
    told = shown([balancing(n) for n in range(count)])
    return np.load(path.with_suffix(".npy"), mmap_mode="r"), np.load(path.with_suffix(".npz"))["masks"], told


def targets(instances: Tensor, attributes: Tensor, centres: Tensor) -> dict[str, Tensor]:
    """What the maps should say: instances (B, 32, 32), attributes (B, 4, 4), centres (B, 4, 3) ->

    heat (B, 32, 32) in [0, 1], 1 at centres; owner (B, 32, 32): the solid that a cell tells of; weight (B, 32, 32), the
    weights of one solid sum to 1; attributes (B, 4, 32, 32); box (B, 4, 32, 32): cells from here to the left, upper,
    right, lower side; way (B, 2, 32, 32): cells from here to the centre; distance (B, 1, 32, 32).
    """
    b, device = len(instances), instances.device
    at = torch.arange(CELLS, device=device) + 0.5
    x = (centres[..., 0] + 1) / 2 * CELLS  # (B, 4)
    y = (1 - centres[..., 1]) / 2 * CELLS
    real = attributes[..., 0] >= 0
    column, row = x.floor() + 0.5, y.floor() + 0.5  # of the cell that holds the centre
    gx, gy = at - column[..., None], at - row[..., None]
    bell = torch.exp(-(gx[:, :, None, :] ** 2 + gy[..., None] ** 2) / (2 * 0.8**2)) * real[..., None, None]
    heat, nearest = bell.max(1)
    around = heat > 0.15  # the centre and its eight neighbours
    mine = instances[:, None] == torch.arange(MOST, device=device)[:, None, None]  # (B, 4, 32, 32)
    owner = torch.where(around, nearest, instances.clamp(min=0).long())
    core = bell * around[:, None] * (nearest[:, None] == torch.arange(MOST, device=device)[:, None, None])
    area = mine.sum((2, 3), keepdim=True)
    shown = (mine & ~around[:, None]).float()
    weight = 0.5 * core / core.sum((2, 3), keepdim=True).clamp(min=1e-6)
    weight = weight + 0.5 * shown / shown.sum((2, 3), keepdim=True).clamp(min=1)
    columns, rows = mine.any(2), mine.any(3)  # (B, 4, 32)
    index = torch.arange(CELLS, device=device)
    left = torch.where(columns, index, CELLS).amin(-1)
    right = torch.where(columns, index + 1, 0).amax(-1)
    upper = torch.where(rows, index, CELLS).amin(-1)
    lower = torch.where(rows, index + 1, 0).amax(-1)
    seen = area.flatten(1) > 0

    def told(values: Tensor) -> Tensor:
        """(B, 4) a value for each solid -> (B, 32, 32) that of each cell's owner."""
        return values.gather(1, owner.view(b, -1)).view(b, CELLS, CELLS)

    here_x, here_y = at.view(1, 1, -1), at.view(1, -1, 1)
    box = [told(left) - here_x, told(upper) - here_y, told(right) - here_x, told(lower) - here_y]
    return {
        "heat": heat,
        "weight": weight.sum(1),
        "boxed": weight.sum(1) * told(seen.float()),
        "attributes": torch.stack([told(attributes[..., k]) for k in range(4)], 1),
        "box": torch.stack(box, 1),
        "way": torch.stack([told(x) - here_x, told(y) - here_y], 1),
        "distance": told((centres[..., 2].clamp(min=0.1) / NEAREST).log())[:, None],
    }


def focal(scores: Tensor, heat: Tensor) -> Tensor:
    """CenterNet's loss of a heatmap, by solid: alpha 2, beta 4."""
    p = scores.sigmoid()
    hit = heat > 0.999
    loss = torch.where(hit, -((1 - p) ** 2) * F.logsigmoid(scores), -((1 - heat) ** 4) * p**2 * F.logsigmoid(-scores))
    return loss.sum() / hit.sum().clamp(min=1)


def soften(x: Tensor, rng: np.random.Generator) -> Tensor:
    """What a small diffusion model does to a picture: blur, lost detail, noise, blotches, another brightness."""
    b, size, device = len(x), x.shape[-1], x.device
    kind, amount = rng.random(), float(rng.uniform(0.2, 1))
    if kind < 0.3:
        x = torch.lerp(x, F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1), amount)
    elif kind < 0.6:
        small = F.avg_pool2d(x, 2)
        x = torch.lerp(x, F.interpolate(small, size=size, mode="bilinear", align_corners=False), amount)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device)

    gain = 1 + 0.02 * normal(b, 1, 1, 1) + 0.008 * normal(b, 3, 1, 1)
    offset = 0.008 * normal(b, 3, 1, 1)
    if rng.random() < 0.5:
        blotches = F.interpolate(normal(b, 3, 16, 16), size=size, mode="bilinear", align_corners=False)
        offset = offset + 0.02 * rng.random() * blotches
    if rng.random() < 0.5:
        offset = offset + 0.03 * rng.random() * normal(b, 3, size, size)
    return (x * gain + offset).clamp(0, 1)


class Judge:
    name, rows, rate = "judge", 48, 2.5e-3

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = Network().to(memory_format=torch.channels_last)
        rgb = data.pictures("train")
        own = truth("train", len(rgb))
        more, masks, told = balance()
        self.rgb, self.masks = (rgb, more), np.concatenate([data.instances("train"), masks])
        self.truth = Truth(*(torch.cat([getattr(one, f.name) for one in (own, told)]) for f in fields(Truth)))
        self.held_out = data.pictures("validation")[:400]

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        index = np.sort(rng.choice(len(self.masks), self.rows, replace=False))
        rows, own = torch.from_numpy(index), len(self.rgb[0])
        rgb = np.concatenate([self.rgb[0][index[index < own]], self.rgb[1][index[index >= own] - own]])
        x = torch.from_numpy(rgb).to(device).permute(0, 3, 1, 2).float() / 255
        masks = torch.from_numpy(self.masks[index]).to(device)
        centres = self.truth.centres[rows].to(device)
        if rng.random() < 0.5:  # the world is as likely as its mirror picture
            x, masks, centres = x.flip(3), masks.flip(2), centres * torch.tensor([-1.0, 1.0, 1.0], device=device)
        given = targets(masks, self.truth.attributes[rows].to(device), centres)
        place = self.truth.place[rows].to(device)
        return {"x": soften(x, rng).contiguous(memory_format=torch.channels_last), "place": place, **given}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        maps, ground, sky, _ = network(batch["x"])
        solids = batch["weight"].sum().clamp(min=1)
        parts = {"heat": focal(maps["heat"][:, 0], batch["heat"])}
        for k, name in enumerate(NAMES):
            target = torch.where(batch["weight"] > 0, batch["attributes"][:, k], 0).clamp(min=0)
            parts[name] = (F.cross_entropy(maps[name], target, reduction="none") * batch["weight"]).sum() / solids
        for name, scale, weight in (("box", 0.1, "boxed"), ("way", 0.2, "weight"), ("distance", 5.0, "weight")):
            error = (maps[name] - batch[name]).abs().sum(1) * batch[weight]
            parts[name] = scale * error.sum() / solids
        parts["ground"] = F.cross_entropy(ground, batch["place"][:, 0])
        parts["sky"] = F.cross_entropy(sky, batch["place"][:, 1])
        return torch.stack(list(parts.values())).sum(), {k: v.detach() for k, v in parts.items()}

    def check(self, network: nn.Module) -> dict[str, float]:
        scenes = [draw("validation", n) for n in range(len(self.held_out))]
        figures = accuracy(scenes, _pixels(self.held_out), network)
        return {name: right / of for name, (right, of) in figures.items() if of}

    def pictures(self, network: nn.Module) -> Image.Image:
        """Held-out renders, and under each its heatmap."""
        x = _pixels(self.held_out[:16])
        with torch.no_grad():
            heat = network(x.to(next(network.parameters()).device))[0]["heat"].sigmoid().cpu()
        return grid(torch.cat([x[:8], _wide(heat[:8]), x[8:], _wide(heat[8:])]))


def _pixels(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255


def _wide(heat: Tensor) -> Tensor:
    return F.interpolate(heat, scale_factor=4.0).expand(-1, 3, -1, -1)


def ship(count: int = 2000) -> None:
    """Write the averaged weights of the last checkpoint to `world.judge.WEIGHTS`, in half precision, with the mean and
    the deviation of the features over `count` training renders."""
    judge = Network().eval()
    state = torch.load(RUNS / Judge.name / "last.pt", map_location="cpu", weights_only=True)["averaged"]
    judge.load_state_dict(state)
    judge.mean.zero_()
    judge.spread.fill_(1)
    seen = torch.cat([features(_pixels(data.pictures("train")[i : i + 100]), judge) for i in range(0, count, 100)])
    state |= {"mean": seen.mean(0), "spread": seen.std(0).clamp(min=1e-3)}
    kept = {k: w.half().contiguous() for k, w in state.items() if w.is_floating_point()}
    save_file(kept, WEIGHTS.with_suffix(".new"))
    WEIGHTS.with_suffix(".new").replace(WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    ship()
