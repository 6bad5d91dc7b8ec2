from collections.abc import Callable, Sequence
from typing import Annotated, Any

from torch import Tensor

from conditioning.registry import Help, Interval, Knob, Prompt, method
from conditioning.sampling.attention.lockstep import EVERYTHING, Pair, Record, Source, lockstep
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Sampler
from samplers.schedules import interval

BLOCK = (
    14 / 22
)  # which residual block gives its features: the 15th of Stable Diffusion's 22, in the second of four stages up
LAYERS = (
    8 / 16
)  # from which self-attention on queries and keys are given: the 9th of 16, all of the decoder but its first


@method(
    task="editing",
    paper="2211.12572",
    search=(
        "PnP", "keep the layout", "image-to-image translation", "edit by words", "restyle", "style",
    ),
    needs=("attention.self", "features"),
    traits=("runs_source",),
    intervals=(Interval(end="features"), Interval(end="keep")),
    nfe=None,
    rows=None,
    order_in_family=-1,
)
def plug_and_play(
    sampler: Sampler,
    source_prompt: Annotated[Prompt, Help("The prompt whose image lends its layout")],
    made_sigmas: Sequence[float],
    features: Annotated[
        float,
        Knob(0, 1, label="Feature injection until", help="Features are the source's up to this fraction of the steps"),
    ] = 0.8,
    keep: Annotated[
        float,
        Knob(
            0,
            1,
            label="Self-attention injection until",
            help="Self-attention is the source's up to this fraction of the steps",
        ),
    ] = 0.5,
    source_states: SourceStates | None = None,
) -> Sampler:
    """Plug-and-Play.

    The source prompt is denoised beside that of the run, and the target is given the source's layout: the features of
    one residual block and the maps of self-attention (Tumanyan et al. 2023, Section 4, Algorithm 1). What
    things look like is left to the prompt of the run.

        h = h_s                                     one block of the decoder, while t < features
        out = softmax(q_s k_s^T / sqrt(d)) v        self-attention of the decoder, while t < keep

    source_prompt: cond of the prompt that the layout comes from; the paper inverts its image, and gives an empty one;
    asks for the negative prompt are given the same as those of the prompt. made_sigmas: the schedule of the steps that
    are made, of which `features` and `keep` are parts.

    Features are what the block is about to add to its input. The paper's setting is 50 steps and a guidance scale of
    7.5 to 15.
    """
    ends = {
        kind: interval(made_sigmas, 0.0, end)[0] for kind, end in (("feature", features), ("self", keep)) if end > 0
    }
    if not ends:
        return sampler
    low = min(ends.values())

    def edit(pair: Pair, _role: str, record: Record) -> Layout:
        return Layout(record, {kind for kind, end in ends.items() if pair.level > end})

    takes = dict.fromkeys(EVERYTHING, "prompt")
    return lockstep(sampler, Source(source_prompt, source_states), takes, edit, lambda level: level > low, low)


class Layout:
    """The edit of the target's asks. on: "feature", "self", or both."""

    def __init__(self, record: Record, on: set[str]):
        self.record, self.on = record, on

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if site.kind == "self" and "self" in self.on and site.index >= LAYERS * site.of:
            q, k, _ = self.record.made[site.name]
        return plain(q, k, v)

    def feature(self, site: Any, h: Tensor) -> Tensor:
        taken = "feature" in self.on and site.index == round(BLOCK * site.of)
        return self.record.added[site.name] if taken else h
