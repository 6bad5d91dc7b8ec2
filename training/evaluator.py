"""The training of the evaluator: renders only, softened the way a small diffusion model softens them, lumps among them.

Centres by the penalty-reduced focal loss of CenterNet (Zhou et al. 2019, eq. 1); attributes by cross-entropy, half of a
solid's weight around its centre and half over its visible cells; box, way to the centre and distance by absolute error.

Every scene is rendered while training goes on, of all colours and of the pairs that denoisers never see, too: what the
generator must never see the evaluator must know as well as the rest, or it would take a purple cube for a blue one.
Every fourth batch is warped, every fourth mixed with renders of the same scenes in other shapes: the more a solid is a
lump, the less its target is one shape, so `sure["shape"]` falls on lumps.

    python -m training evaluator --images 600000    train, in pieces
    python -m training.evaluator [FILE]               ship what was trained last, in place of the evaluator or to FILE
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.loop import averaged_network, best_device, grid
from training.renders import SIZE, Pool, any_scene
from training.softening import mixed, soften, warped
from world.evaluator import WEIGHTS, accuracy, features
from world.eye import CELLS, NAMES, NEAREST, EyeNetwork
from world.render import Rendering, quantized, render
from world.scene import COLOURS, GROUNDS, SHAPES, SKIES, Scene, draw

MOST = 4  # solids of a scene
FIRST, RENEWED, CAPACITY = 2_000, 6, 10_000  # scenes before the first step, new ones a step, and in memory at most
CHECKED = 300  # scenes of the validation split that it is checked on
LUMP = 0.12  # a solid warped by this share of its extent has no shape any more


def scene_targets(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """attributes (B, 4, 4): shape, colour, size, material of each solid, -1 where there is none; centres (B, 4, 3): u,
    v, distance in metres; place (B, 2): ground, sky."""
    attributes = torch.full((len(scenes), MOST, 4), -1)
    centres = torch.zeros(len(scenes), MOST, 3)
    for n, scene in enumerate(scenes):
        for i, solid in enumerate(scene.solids):
            attributes[n, i] = torch.tensor([values.index(getattr(solid, name)) for name, values in NAMES.items()])
            centres[n, i] = torch.tensor(scene.place(i))
    place = torch.tensor([(GROUNDS.index(scene.ground), SKIES.index(scene.sky)) for scene in scenes])
    return {"attributes": attributes, "centres": centres, "place": place}


def other_shapes(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same scene with every solid of another shape."""
    solids = (
        replace(solid, shape=SHAPES[(SHAPES.index(solid.shape) + int(rng.integers(1, len(SHAPES)))) % len(SHAPES)])
        for solid in scene.solids
    )
    return replace(scene, solids=tuple(solids))


def targets(instances: Tensor, attributes: Tensor, centres: Tensor) -> dict[str, Tensor]:
    """What the maps should be: instances (B, 32, 32), attributes (B, 4, 4), centres (B, 4, 3) ->

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
    visible = area.flatten(1) > 0

    def of_owner(values: Tensor) -> Tensor:
        """(B, 4) a value for each solid -> (B, 32, 32) that of each cell's owner."""
        return values.gather(1, owner.view(b, -1)).view(b, CELLS, CELLS)

    here_x, here_y = at.view(1, 1, -1), at.view(1, -1, 1)
    box = [of_owner(left) - here_x, of_owner(upper) - here_y, of_owner(right) - here_x, of_owner(lower) - here_y]
    return {
        "heat": heat,
        "owner": owner,
        "weight": weight.sum(1),
        "boxed": weight.sum(1) * of_owner(visible.float()),
        "attributes": torch.stack([of_owner(attributes[..., k]) for k in range(4)], 1),
        "box": torch.stack(box, 1),
        "way": torch.stack([of_owner(x) - here_x, of_owner(y) - here_y], 1),
        "distance": of_owner((centres[..., 2].clamp(min=0.1) / NEAREST).log())[:, None],
    }


def focal(scores: Tensor, heat: Tensor) -> Tensor:
    """CenterNet's loss of a heatmap, by solid: alpha 2, beta 4."""
    p = scores.sigmoid()
    hit = heat > 0.999
    loss = torch.where(hit, -((1 - p) ** 2) * F.logsigmoid(scores), -((1 - heat) ** 4) * p**2 * F.logsigmoid(-scores))
    return loss.sum() / hit.sum().clamp(min=1)


def certainty(masks: Tensor, shapes: Tensor, others: Tensor, share: Tensor, lump: Tensor) -> Tensor:
    """How much of each shape a solid should be taken for, (B, 4, 6), each row of sum 1.

    masks (B, 32, 32): solids by their numbers; shapes, others (B, 4): its shape, and that which is mixed in, -1 for no
    solid; share (B, 32, 32): how much of the other; lump (B, 4) in [0, 1]: how far it is warped to no shape at all.
    """
    mine = (masks[:, None] == torch.arange(MOST, device=masks.device)[:, None, None]).float()
    mean = (mine * share[:, None]).sum((2, 3)) / mine.sum((2, 3)).clamp(min=1)
    own, other = (F.one_hot(index.clamp(min=0), len(SHAPES)).float() for index in (shapes, others))
    clear = torch.lerp(own, other, mean[..., None])
    return torch.lerp(clear, torch.full_like(clear, 1 / len(SHAPES)), lump[..., None])


class Evaluator:
    name, rows, rate = "evaluator", 48, 2.5e-3

    def __init__(self) -> None:
        torch.manual_seed(0)
        device = best_device()
        self.network: nn.Module = EyeNetwork(colours=len(COLOURS)).to(memory_format=torch.channels_last)
        self.rng = np.random.default_rng()  # of the shapes that are mixed in
        entropy = int(np.random.SeedSequence().generate_state(1)[0])  # every piece of a run sees scenes of its own
        self.pool = Pool(any_scene, self._rows, CAPACITY, FIRST, entropy, device)
        self.scenes = [draw("validation", n, tuple(COLOURS)) for n in range(CHECKED)]
        self.held_out = torch.cat([render(self.scenes[i : i + 50], SIZE).rgb for i in range(0, len(self.scenes), 50)])

    def _rows(self, scenes: list[Scene], rendering: Rendering) -> dict[str, Tensor]:
        mixed_in = [other_shapes(scene, self.rng) for scene in scenes]
        bytes_of = [quantized(rgb) for rgb in (rendering.rgb, render(mixed_in, SIZE, best_device()).rgb)]
        rows = scene_targets(scenes) | {"others": scene_targets(mixed_in)["attributes"][..., 0]}
        rows = {name: values.to(rendering.rgb.device) for name, values in rows.items()}
        masks = rendering.instances[:, 2::4, 2::4].to(torch.int8)
        return {"rgb": bytes_of[0], "other": bytes_of[1], "masks": masks, **rows}

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        self.pool.renew(RENEWED)
        index = torch.from_numpy(rng.choice(self.pool.size, self.rows, replace=False)).to(device)
        rows = {name: self.pool.rows(name, index) for name in self.pool.tables}
        x, masks, centres = rows["rgb"].float() / 255, rows["masks"], rows["centres"]
        share = torch.zeros(len(x), 1, SIZE, SIZE, device=device)
        lump = torch.zeros(len(x), MOST, device=device)
        kind = rng.random()
        if kind < 0.25:
            x, share = mixed(x, rows["other"].float() / 255, rng)
        elif kind < 0.5:
            pixels = float(rng.uniform(0.3, 4))
            x = warped(x, masks >= 0, rng, pixels)
            area = (masks[:, None] == torch.arange(MOST, device=device)[:, None, None]).float().sum((2, 3))
            lump = (pixels / (LUMP * (area.clamp(min=1) * (SIZE / CELLS) ** 2).sqrt())).clamp(max=1)
        shapes = certainty(
            masks, rows["attributes"][..., 0], rows["others"], F.avg_pool2d(share, SIZE // CELLS)[:, 0], lump
        )
        if rng.random() < 0.5:  # the world is as likely as its mirror image
            x, masks, centres = x.flip(3), masks.flip(2), centres * torch.tensor([-1.0, 1.0, 1.0], device=device)
        maps = targets(masks, rows["attributes"], centres)
        x = soften(x, rng).contiguous(memory_format=torch.channels_last)
        return {"x": x, "place": rows["place"], "shapes": shapes, **maps}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        maps, ground, sky, _ = network(batch["x"])
        solids = batch["weight"].sum().clamp(min=1)
        parts = {"heat": focal(maps["heat"][:, 0], batch["heat"])}
        for k, name in enumerate(NAMES):
            target = torch.where(batch["weight"] > 0, batch["attributes"][:, k], 0).clamp(min=0)
            if name == "shape":
                b, owner = len(target), batch["owner"].flatten(1)
                target = batch["shapes"].gather(1, owner[..., None].expand(-1, -1, len(SHAPES))).mT
                target = target.reshape(b, len(SHAPES), CELLS, CELLS)
            parts[name] = (F.cross_entropy(maps[name], target, reduction="none") * batch["weight"]).sum() / solids
        for name, scale, weight in (("box", 0.1, "boxed"), ("way", 0.2, "weight"), ("distance", 5.0, "weight")):
            error = (maps[name] - batch[name]).abs().sum(1) * batch[weight]
            parts[name] = scale * error.sum() / solids
        parts["ground"] = F.cross_entropy(ground, batch["place"][:, 0])
        parts["sky"] = F.cross_entropy(sky, batch["place"][:, 1])
        return torch.stack(list(parts.values())).sum(), {k: v.detach() for k, v in parts.items()}

    def check(self, network: nn.Module) -> dict[str, float]:
        figures = accuracy(self.scenes, self.held_out, network)
        return {name: right / of for name, (right, of) in figures.items() if of}

    def preview(self, network: nn.Module) -> Image.Image:
        """Held-out renders, and under each its heatmap."""
        x = self.held_out[:16]
        with torch.no_grad():
            heat = network(x.to(next(network.parameters()).device))[0]["heat"].sigmoid().cpu()
        wide = F.interpolate(heat, scale_factor=4.0).expand(-1, 3, -1, -1)
        return grid(torch.cat([x[:8], wide[:8], x[8:], wide[8:]]))


def ship(path: Path = WEIGHTS, count: int = 2000) -> None:
    """Write the averaged weights of the last checkpoint, in half precision, with the mean and the deviation of the
    features over `count` renders of the training split."""
    network = EyeNetwork(colours=len(COLOURS)).eval()
    state = averaged_network(Evaluator.name)
    network.load_state_dict(state)
    network.mean.zero_()
    network.spread.fill_(1)
    scenes = [draw("train", n, tuple(COLOURS)) for n in range(count)]
    rows = torch.cat([features(render(scenes[i : i + 50], SIZE).rgb, network) for i in range(0, count, 50)])
    state |= {"mean": rows.mean(0), "spread": rows.std(0).clamp(min=1e-3)}
    weights = {k: w.half().contiguous() for k, w in state.items() if w.is_floating_point()}
    save_file(weights, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    ship(*map(Path, sys.argv[1:2]))
