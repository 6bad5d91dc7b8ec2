"""The one training loop. A network brings a `Spec`; the loop brings steps, averaging, checkpoints, curves and images.

Everything of a run stands in `training/runs/<name>/`: `last.pt` (weights, averaged weights, optimiser, counters),
written by temp-and-rename every two minutes, `curve.json`, `curve.png`, and a grid of images at every check.
Killed at any moment, the same command goes on from there. The learning rate rises over `warmup` images, stays,
and falls to zero over the last `decay` fraction of the images planned: so a run may be prolonged by asking for
more. Where no images are planned the minutes are the plan, and the piece is the whole run: for a machine that is
lent for a time.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from common.image_bytes import to_pixels

RUNS = Path(__file__).parent / "runs"


class Spec(Protocol):
    """What the loop needs to know of a network.

    `batch(rng, device)` draws one training batch; `loss(network, batch, progress)` returns the loss to descend and
    figures to show, progress in [0, 1] over the whole run; `check(network)` returns held-out figures,
    `preview(network)` a grid to look at.
    """

    name: str
    rows: int  # images a batch
    rate: float  # learning rate
    network: nn.Module

    def batch(self, rng: np.random.Generator, device: torch.device) -> Any: ...
    def loss(self, network: nn.Module, batch: Any, progress: float) -> tuple[Tensor, dict[str, Tensor]]: ...
    def check(self, network: nn.Module) -> dict[str, float]: ...
    def preview(self, network: nn.Module) -> Image.Image: ...


@dataclass(frozen=True)
class Plan:
    """How long: `images` in all (0: as many as come), `minutes` in this piece; and how: the numbers the loop
    leaves to the caller."""

    images: int
    minutes: float = 9.5
    warmup: int = 8_000  # images over which the learning rate rises
    decay: float = 0.25
    average: int = 60_000  # images over which the averaged weights forget (at most a tenth of the images so far)
    weight_decay: float = 0.01
    clip: float = 1.0
    check_every: float = 5.0  # minutes
    seed: int = 0


def adamw(network: nn.Module, rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """What trains a network whose spec brings no `optimiser(network, rate, weight_decay)` of its own."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay)


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def reduced(device: torch.device) -> torch.autocast:
    """Autocast to bf16 where the device computes in it; where a processor would only imitate it (ten times slower than
    float32), float32."""
    fast = device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def progress_at(plan: Plan, images_seen: int, seconds: float) -> float:
    """How much of the plan is done, in [0, 1]: of its images, or of its minutes where no images are planned."""
    return min(1.0, images_seen / plan.images if plan.images else seconds / (60 * plan.minutes))


def rate_at(plan: Plan, images_seen: int, progress: float) -> float:
    """The learning rate as a fraction of the full one, after `images_seen` images."""
    return max(0.0, min(1.0, (images_seen + 1) / plan.warmup, (1 - progress) / plan.decay))


def _folded(network: nn.Module, averaged: dict[str, Tensor], images_seen: int, rows: int, plan: Plan) -> None:
    window = min(plan.average, max(images_seen / 10, rows))
    keep = math.exp(-rows / window)
    with torch.no_grad():
        state = network.state_dict()
        floats = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([averaged[k] for k in floats], [state[k] for k in floats], 1 - keep)


def averaged_network(name: str) -> dict[str, Tensor]:
    """The averaged weights of the last checkpoint of a run. Raises FileNotFoundError if there is none."""
    path = RUNS / name / "last.pt"
    if not path.exists():
        raise FileNotFoundError(f"No checkpoint at {path}: train {name!r} first (`python -m training {name}`).")
    return torch.load(path, map_location="cpu", weights_only=True)["averaged"]


class _Swapped:
    """The network with the averaged weights, for checks and images."""

    def __init__(self, network: nn.Module, averaged: dict[str, Tensor]):
        self.network, self.averaged = network, averaged

    def __enter__(self) -> nn.Module:
        self.own = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        return self.network.eval()

    def __exit__(self, *_: object) -> None:
        self.network.load_state_dict(self.own)
        self.network.train()


def train(spec: Spec, plan: Plan) -> None:
    """Train until the plan's images are seen or its minutes are over."""
    here = RUNS / spec.name
    here.mkdir(parents=True, exist_ok=True)
    device = best_device()
    network = spec.network.to(device).train()
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    make = getattr(spec, "optimiser", adamw)
    optimiser = make(network, spec.rate, plan.weight_decay)
    images_seen, spent, curve = 0, 0.0, []
    averaged = {k: v.clone() for k, v in network.state_dict().items()}
    if (here / "last.pt").exists():
        saved = torch.load(here / "last.pt", map_location=device, weights_only=True)
        network.load_state_dict(saved["network"])
        averaged = saved["averaged"]
        if saved["optimiser"] is not None:
            optimiser.load_state_dict(saved["optimiser"])
        images_seen, spent = saved["seen"], saved["spent"]
        curve = json.loads((here / "curve.json").read_text())

    def read() -> dict[str, float]:
        values = {name: float(mean) for name, mean in means.items()}
        if not all(map(math.isfinite, values.values())):
            raise FloatingPointError(
                f"{spec.name}: the loss is not finite after {images_seen} images ({values}); last checkpoint kept."
            )
        return values

    def save() -> None:
        read()
        state = {
            "network": network.state_dict(),
            "averaged": averaged,
            "optimiser": optimiser.state_dict(),
            "seen": images_seen,
            "spent": spent,
        }
        torch.save(state, here / "last.new")
        os.replace(here / "last.new", here / "last.pt")
        (here / "curve.json").write_text(json.dumps(curve))

    def check() -> None:
        with _Swapped(network, averaged) as best:
            figures = spec.check(best)
            spec.preview(best).save(here / f"pictures_{images_seen:08d}.png")
        values = {k: round(v, 5) for k, v in {**read(), **figures}.items()}
        point = {"seen": images_seen, "minutes": spent / 60, **values}
        curve.append(point)
        print("\n" + "  ".join(f"{k} {v:.4g}" for k, v in point.items()), flush=True)
        save()
        draw_curve(curve, here / "curve.png")

    rng = np.random.default_rng([plan.seed, images_seen])
    torch.manual_seed(plan.seed + images_seen)
    means: dict[str, Tensor] = {}  # on the device: reading them makes the machine wait, so they are read now and then
    begun = saved_at = checked_at = time.perf_counter()
    before, began_with = spent, images_seen
    while True:
        elapsed = time.perf_counter() - begun
        progress = progress_at(plan, images_seen, elapsed)
        if progress >= 1 or elapsed >= plan.minutes * 60:
            break
        for group in optimiser.param_groups:
            group["lr"] = spec.rate * rate_at(plan, images_seen, progress)
        batch = spec.batch(rng, device)
        with reduced(device):
            loss, figures = spec.loss(network, batch, progress)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
        optimiser.step()
        images_seen += spec.rows
        _folded(network, averaged, images_seen, spec.rows, plan)
        for key, value in {"loss": loss.detach(), **figures}.items():
            means[key] = torch.lerp(means[key], value.float(), 0.02) if key in means else value.float()
        now = time.perf_counter()
        spent = before + now - begun
        if images_seen // spec.rows % 10 == 0:
            speed = (images_seen - began_with) / (now - begun)
            text = "  ".join(f"{k} {v:.4f}" for k, v in read().items())
            whole = f"/{plan.images}" if plan.images else ""
            print(f"\r{spec.name} {images_seen}{whole}  {speed:.0f}/s  {text}  ", end="", flush=True)
        if now - checked_at > plan.check_every * 60:
            check()
            checked_at = saved_at = time.perf_counter()
        elif now - saved_at > 120:
            save()
            saved_at = now
    check()


def draw_curve(curve: list[dict[str, float]], path: Path) -> None:
    """The figures of a run over the images seen, one small plot each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [k for k in curve[-1] if k not in ("seen", "minutes")]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 2.2 * rows), squeeze=False, layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        points = [(p["seen"] / 1000, p[name]) for p in curve if name in p]
        axis.plot(*zip(*points, strict=True), color="#3b6ea8", lw=1.4)
        axis.set_title(f"{name}  {points[-1][1]:.4g}", fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    figure.supxlabel("thousand images seen", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def grid(images: Tensor, columns: int = 8, scale: int = 1) -> Image.Image:
    """(B, 3, H, W) in [0, 1] as one image."""
    pixels = to_pixels(images)
    rows = [np.concatenate(list(pixels[i : i + columns]), 1) for i in range(0, len(pixels) - columns + 1, columns)]
    image = Image.fromarray(np.concatenate(rows))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)


def minibatches(count: int, rows: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless shuffled passes over 0, ..., count - 1, `rows` at a time."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count - rows + 1, rows):
            yield np.sort(order[start : start + rows])
