"""Training of the evaluator of surfaces: depth, normals, classes, from renders, clean and softened as for the
evaluator.

python -m training surfaces --images 60000 --warmup 2000 --threads 1    train, in pieces
python -m training.surfaces                                               ship what was trained last
python -m world.surfaces                                                  validate what is shipped
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training import data
from training.loop import RUNS, averaged_network, grid
from training.softening import soften
from world.render import render
from world.scene import draw
from world.surfaces import CELLS, NEAREST, WEIGHTS, SurfaceNetwork, Surfaces, accuracy, surfaces_of_render

SCENES = 16_000


def ground_truth(split: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of scenes 0, ..., count - 1: ln(depth / 3 m) (N, 64, 64) float16, 9 in the sky; normals (N, 3, 64, 64) int8 in
    127ths; classes (N, 64, 64) uint8. Made once and kept."""
    path = RUNS / "surfaces" / f"truth_{split}_{count}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = []
        for first in range(0, count, 50):
            out = surfaces_of_render(render([draw(split, n) for n in range(first, min(first + 50, count))], CELLS))
            away = (out.depth / NEAREST).log().clamp(max=9.0).half()
            parts.append((away, (out.normals * 127).round().to(torch.int8), out.classes.byte()))
            print(f"\rsurfaces of {split}: {first} of {count}", end="", flush=True)
        torch.save(tuple(torch.cat(maps) for maps in zip(*parts, strict=True)), path)
    return torch.load(path, weights_only=True)


def begun() -> SurfaceNetwork:
    """What a run starts from: the weights that are shipped, else fresh ones."""
    network = SurfaceNetwork()
    if WEIGHTS.exists():
        network.load_state_dict({name: w.float() for name, w in load_file(WEIGHTS).items()}, strict=False)
    return network


class SurfacesSpec:
    name, rows, rate = "surfaces", 32, 2e-3

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = begun().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.away, self.normals, self.classes = ground_truth("train", SCENES)
        self.rgb = data.images("train")[:SCENES]
        self.held_out = _pixels(data.images("validation")[:200])
        away, normals, classes = ground_truth("validation", 200)
        depth = torch.where(classes == 0, torch.inf, NEAREST * away.float().exp())
        self.held_out_truth = Surfaces(depth, normals.float() / 127, classes.long())

    def batch(self, rng: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
        index = np.sort(rng.choice(len(self.rgb), self.rows, replace=False))
        x, rows = _pixels(self.rgb[index]).to(device), torch.from_numpy(index)
        maps = {
            "away": self.away[rows].to(device).float(),
            "normals": self.normals[rows].to(device).float() / 127,
            "classes": self.classes[rows].to(device).long(),
        }
        if rng.random() < 0.5:  # mirrored, which is a scene of this world as well
            x, maps = x.flip(3), {name: m.flip(-1) for name, m in maps.items()}
            maps["normals"] = maps["normals"] * torch.tensor([-1.0, 1.0, 1.0], device=device)[:, None, None]
        if rng.random() < 0.75:
            x = soften(x, rng)
        return {"x": x.contiguous(memory_format=torch.channels_last), **maps}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        away, normals, classes = network(batch["x"])
        weight = torch.where(batch["classes"] > 1, 4.0, 1.0)  # solids are a tenth of the image
        ground = weight * (batch["classes"] > 0)
        depth = ((away - batch["away"]).abs() * ground).mean()
        turned = ((F.normalize(normals, dim=1) - batch["normals"]).square().sum(1) * ground).mean()
        kind = (F.cross_entropy(classes, batch["classes"], reduction="none") * weight).mean()
        figures = {"depth": depth.detach(), "normals": turned.detach(), "classes": kind.detach()}
        return 5 * depth + turned + kind, figures

    def check(self, network: nn.Module) -> dict[str, float]:
        return accuracy(self.held_out, self.held_out_truth, network)

    def preview(self, network: nn.Module) -> Image.Image:
        """Held-out renders, under each the normals read, and under those the true ones."""
        x = self.held_out[:8]
        with torch.no_grad():
            normals = F.normalize(network(x.to(next(network.parameters()).device))[1], dim=1).cpu()
        maps = [F.interpolate(m / 2 + 0.5, scale_factor=2.0) for m in (normals, self.held_out_truth.normals[:8])]
        return grid(torch.cat([x, *maps]))


def _pixels(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255


def main() -> None:
    float_weights = {k: w for k, w in averaged_network("surfaces").items() if w.is_floating_point()}
    save_file({name: w.half().contiguous() for name, w in float_weights.items()}, WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
