from typing import Annotated, Any

from torch import Tensor

from conditioning.registry import Help, Knob, Prompt, method
from samplers.flow import Cond, Denoiser, Flow, role_of, together


@method(
    task="text-to-image",
    paper="2206.01714",
    search=(
        "combine prompts", "AND", "NOT", "two prompts", "mix prompts", "negation", "composition",
    ),
    needs=("prompts",),
    rows=3,
    order_in_family=1,
)
def composable(
    D: Denoiser,
    also: Annotated[Prompt, Help("A second prompt, which must hold as well", label="AND prompt")],
    null: Prompt,
    without: Annotated[Prompt, Help("A prompt that must not hold", label="NOT prompt")] | None = None,
    weight: Annotated[
        float, Knob(0, 5, curve=True, label="AND weight", help="AND: 1 is as strong as the prompt")
    ] = 1.0,
    against: Annotated[
        float,
        Knob(
            0,
            5,
            curve=True,
            ignored_when=("without", None),
            label="NOT weight",
            help="NOT: 1 is as strong as the prompt",
        ),
    ] = 1.0,
) -> Denoiser:
    """Composable diffusion.

    A second prompt holds as well (AND), and a third must not hold (NOT): what each of them changes about the denoised
    prediction for the negative prompt is added, or taken away (Liu et al. 2022, Eq. 11 and 13).

        x0 = c + weight (also - u) - against (without - u)

    also: cond of what holds as well. without: cond of what must not hold. null: cond of the negative prompt, whose
    denoised prediction u is.

    Weights count in units of the prompt's own guidance: under classifier-free guidance of scale 7.5 this is the paper's
    u + 7.5 (c - u) + 7.5 weight (also - u) - ..., its default for every concept. Strengths add up: with many concepts
    take a lower scale. An ask for the negative prompt passes unchanged.

    Every prompt must be true of the whole image. A network whose captions name all there is, as Still Life's do,
    takes "a red sphere" for that sphere and nothing else: such prompts exclude each other, and both fail.
    """

    def composed(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        if role_of(cond) == "negative":
            return (yield from D(x, sigma, cond, **kw))
        conds = [cond, null, also] if without is None else [cond, null, also, without]
        c, u, a, *not_this = yield from together(*(D(x, sigma, one, **kw) for one in conds))  # (B, C, H, W) each
        x0 = c + weight * (a - u)
        return x0 - against * (not_this[0] - u) if not_this else x0

    return composed
