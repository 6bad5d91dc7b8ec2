"""Recordings as the page draws them: projected paths, figures, film strips, where runs part; and as files.

Plain JSON; images as data URIs. Coordinates are those of the states (latents, or pixels in [-1, 1]).
"""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.trajectory.recorder import Recording
from backbones.base import Backbone
from common.image_bytes import data_uri, to_pixels
from samplers.geometry import shape
from samplers.geometry.trajectory import Trajectory
from samplers.geometry.trajectory_comparison import compare

FRAME = 128  # pixels: the longer side of a frame of a strip at most
PART = 0.1  # of the last difference: from there on two runs are said to have parted
#: What is drawn of each run: key -> (title, unit, of what, whether a large range wants a logarithmic axis, a sentence)
FIGURES: dict[str, tuple[str, str, str, bool, str]] = {
    "x_deviation_percent": (
        "Deviation from the chord", "% of the chord", "of the state", False,
        "How far the state strays from the straight line between start and end: the straighter, the fewer steps are "
        "needed.",
    ),
    "x0_deviation_percent": (
        "Deviation of the denoised prediction", "% of its chord", "of x0", False,
        "The same for what the network takes the image to be.",
    ),
    "x_curvature": (
        "Curvature", "1 / unit of the state", "of the sampling path", True,
        "Where the path bends: there a solver has to take small steps.",
    ),
    "x0_change": (
        "Change of the denoised prediction", "units of the state", "from step to step", False,
        "How much of the image is decided at each step: where this is 0, nothing changes any more.",
    ),
    "eps_cos_chord": (
        "Direction of the field", "cosine to the chord", "1: straight to the end", False,
        "Whether the network points at the end from here: at 1 one step would do.",
    ),
    "guidance_norm": (
        "Guidance norm", "root mean square", "prompt against negative prompt", False,
        "How hard the prompt pulls away from the negative prompt at each step.",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Followed:
    """A run that has ended: its way down, what it cost, its image."""

    label: str
    trajectory: Trajectory
    guidance_norms: list[float]
    image: Image.Image
    recording: Recording
    nfe: int
    seconds: float
    figures: Mapping[str, Tensor] = field(default_factory=dict)


def followed(recording: Recording, image: Image.Image, nfe: int, seconds: float) -> Followed:
    """Raises ValueError where there is no step to follow."""
    way, guidance_norms = recording.descent()
    figures = shape.figures(way)
    norm = torch.full((len(way) + 1, 1), math.nan, dtype=torch.float64)
    norm[: len(guidance_norms), 0] = torch.tensor(guidance_norms, dtype=torch.float64)
    figures |= {"guidance_norm": norm}
    return Followed(recording.label, way, guidance_norms, image, recording, nfe, seconds, figures)


def trajectories(runs: Sequence[Followed], backbone: Backbone) -> dict[str, Any]:
    """All that the page draws. The first run is the one that the others are compared with."""
    return {
        "figures": {
            key: {"title": title, "unit": unit, "of": of, "log": log, "says": says}
            for key, (title, unit, of, log, says) in FIGURES.items()
        },
        "runs": [
            {
                "label": one.label,
                "sigmas": [round(s, 5) for s in one.trajectory.sigmas.tolist()],
                "figures": {key: _numbers(one.figures[key][:, 0]) for key in FIGURES},
                "strips": strips(one.trajectory, backbone, one.image),
                "nfe": one.nfe,
                "seconds": round(one.seconds, 2),
                "chord": round(float(shape.chord(one.trajectory.x)[0]), 2),
                "length": round(float(shape.length(one.trajectory.x)[0]), 2),
                "apart": parted(runs[0], one) if place else None,
                "attentive": one.recording.look is not None and bool(one.recording.look.maps),
            }
            for place, one in enumerate(runs)
        ],
        "paths": {"x": projected([one.trajectory.x[:, 0] for one in runs]),
                  "x0": projected([one.trajectory.x0[:, 0] for one in runs])},
    }  # fmt: skip


def projected(paths: Sequence[Tensor]) -> dict[str, Any] | None:
    """Paths (N, C, H, W) in one frame: the chord and the two main directions off it. None where they span no plane."""
    for axes in (3, 2):
        try:
            seen = shape.frame(paths, axes)
        except ValueError:
            continue
        points = [seen(path) for path in paths]
        return {
            "points": [[[round(v, 4) for v in row] for row in one.tolist()] for one in points],
            "shares": [round(float(share), 4) for share in seen.shares],
        }
    return None


def parted(first: Followed, other: Followed) -> dict[str, Any] | None:
    """Where a run leaves the first one: distances level by level, and the level at which it begins. None where they
    are on different levels, or of different sizes."""
    try:
        found = compare(first.trajectory, other.trajectory, PART)
    except ValueError:
        return None
    onset = float(found.onset[0])
    step = None if math.isnan(onset) else int((found.sigmas == onset).int().argmax())
    return {
        "x": _numbers(found.x_apart[:, 0]), "x0": _numbers(found.x0_apart[:, 0]),
        "onset": None if math.isnan(onset) else round(onset, 4), "step": step,
    }  # fmt: skip


def strips(way: Trajectory, backbone: Backbone, image: Image.Image) -> dict[str, Any]:
    """Two sheets, frame beside frame: the states, brought to unit scale by 1 / sqrt(1 + sigma^2), and predictions x0,
    as previews; the last frame of both is the image that the run ended with."""
    scale = (1 + way.sigmas**2).rsqrt().to(way.x).reshape(-1, *[1] * (way.x.ndim - 1))
    states, predictions = (way.x * scale)[:, 0], torch.cat([way.x0, way.x[-1:]])[:, 0]
    device = getattr(backbone, "device", "cpu")
    sheets = {}
    for name, frames in (("x", states), ("x0", predictions)):
        with torch.no_grad():
            seen = torch.cat([backbone.preview(part.to(device)).float().cpu() for part in frames.split(8)])
        sheets[name], size = _sheet(seen, image)
    return {**sheets, "count": len(states), "width": size[0], "height": size[1]}


def _sheet(previews: Tensor, image: Image.Image) -> tuple[str, tuple[int, int]]:
    """(N, 3, H, W) in [0, 1], of which the last one gives way to the image -> one image as a data URI, and the size of
    a frame."""
    shrink = min(1.0, FRAME / max(image.size))
    w, h = (max(1, round(side * shrink)) for side in image.size)
    frames = [*map(Image.fromarray, to_pixels(previews[:-1])), image.convert("RGB")]
    sheet = Image.new("RGB", (w * len(frames), h))
    for place, frame in enumerate(frames):
        sheet.paste(frame.resize((w, h), Image.Resampling.BICUBIC), (w * place, 0))
    return data_uri(sheet, "WEBP", method=2), (w, h)


def _numbers(values: Tensor) -> list[float | None]:
    """JSON knows no nan; six digits are more than a plot shows."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]


# ---- files ----------------------------------------------------------------------------------------------------------


def archive(runs: Sequence[Followed]) -> bytes:
    """All trajectories as one npz: label_0, sigmas_0, x_0, x0_0, pulls_0, label_1, ..."""
    arrays: dict[str, Any] = {}
    for n, one in enumerate(runs):
        way = one.trajectory
        arrays |= {
            f"label_{n}": np.array(one.label), f"sigmas_{n}": way.sigmas.numpy(), f"x_{n}": way.x.numpy(),
            f"x0_{n}": way.x0.numpy(), f"guidance_norms_{n}": np.array(one.guidance_norms),
        }  # fmt: skip
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def table(runs: Sequence[Followed]) -> str:
    """Every figure at every level of every run, as CSV."""
    lines: list[str] = []
    for one in runs:
        handle, name = tempfile.mkstemp(suffix=".csv")
        os.close(handle)
        try:
            shape.save_csv(name, one.trajectory.sigmas, one.figures)
            head, *rows = Path(name).read_text(encoding="utf-8").splitlines()
        finally:
            Path(name).unlink()
        text = f"'{one.label}" if one.label[:1] in "=+-@" else one.label  # no formula, whoever opens it
        label = '"' + text.replace('"', '""') + '"'
        lines += [] if lines else [f"run,{head}"]
        lines += [f"{label},{row}" for row in rows]
    return "\r\n".join(lines) + "\r\n"
