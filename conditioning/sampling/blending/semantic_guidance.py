from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from conditioning.registry import Help, Interval, Knob, Prompt, method
from samplers.flow import Cond, Denoiser, Flow, role_of, together
from samplers.schedules import highest, interval


@method(
    task="editing",
    paper="2301.12247",
    search=(
        "SEGA", "edit by words", "concept slider", "add a concept", "remove a concept", "semantic edit",
    ),
    intervals=(Interval("warmup"),),
    needs=("prompts",),
    rows=3,
    order_in_family=2,
)
def semantic_guidance(
    D: Denoiser,
    edit: Annotated[Prompt, Help('What to add or take away, such as "glasses"', label="Edit prompt")],
    null: Prompt,
    also: Annotated[Prompt, Help("Another thing to add or take away", label="Second edit prompt")] | None = None,
    scale: Annotated[
        float, Knob(-5, 5, neutral=0, label="Edit guidance scale",
                    help="How strongly the edit acts; negative takes the concept away")
    ] = 0.67,
    ratio: Annotated[
        float,
        Knob(
            -5,
            5,
            ignored_when=("also", None),
            label="Second edit weight",
            help="Strength of the second concept against the first",
        ),
    ] = 1.0,
    threshold: Annotated[
        float, Knob(0, 1, label="Edit threshold",
                    help="Share of the image left alone: only where the concept matters most it acts; 0 for the light")
    ] = 0.9,
    warmup: Annotated[float, Knob(0, 1, label="Edit warmup",
                                  help="Acts from this fraction of the steps: later keeps more of the layout")] = 0.2,
    momentum: Annotated[
        float, Knob(0, 1, label="Edit momentum scale", help="How much the edit goes on as in the steps before")
    ] = 0.1,
    decay: Annotated[
        float, Knob(0, 0.99, label="Edit momentum beta", help="How long the steps before are remembered")
    ] = 0.4,
    sigmas: Sequence[float] = (),
) -> Denoiser:
    """Semantic guidance (SEGA).

    A concept is added or taken away where it matters: of what its prompt changes about the denoised prediction only the
    largest entries count, and a momentum holds them to one direction (Brack et al. 2023, Eq. 6 to 9).

        g = scale (edit - u) where it is above its quantile
        x0 = c + g + momentum nu,   nu <- decay nu + (1 - decay) (g + momentum nu)

    edit: cond of a concept, such as "glasses". also: cond of another concept. null: cond of the negative prompt, whose
    denoised prediction u is. sigmas: the schedule of the run, of which `warmup` is a part.

    g and nu are in units of eps, where the paper has them: x0 moves by sigma as much. Scales count in units of the
    guidance scale: 0.67 under a scale of 7.5 is the paper's 5. nu is kept by level, so that a second ask of one level
    starts from the same; a level as high as any before starts a new run. An ask for the negative prompt passes
    unchanged.
    """
    _, high = interval(sigmas, warmup, 1.0)
    before: dict[float, Tensor] = {}  # level -> nu as it was when the level was first asked for
    newest: list[Tensor] = []

    def steered(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        if scale == 0 or role_of(cond) == "negative":
            return (yield from D(x, sigma, cond, **kw))
        level = highest(sigma)
        s = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
        if not before or level >= max(before):
            before.clear()
            newest[:] = [torch.zeros_like(x)]
        nu = before.setdefault(level, newest[0])
        conds = [cond, null, edit] if also is None else [cond, null, edit, also]
        c, u, *concepts = yield from together(*(D(x, sigma, one, **kw) for one in conds))  # (B, C, H, W) each
        g = momentum * nu
        for concept, strength in zip(concepts, (scale, scale * ratio)):
            g = g + strength * largest((concept - u) / s, threshold)
        newest[:] = [decay * nu + (1 - decay) * g]
        return c + s * g if level <= high else c

    return steered


def largest(d: Tensor, threshold: float) -> Tensor:
    """d (B, C, H, W), but 0 where |d| is below its quantile, of each image and channel."""
    size = d.abs()
    return torch.where(size >= size.flatten(2).quantile(threshold, dim=2)[..., None, None], d, 0.0)
