from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from conditioning.registry import Knob, method
from conditioning.sampling.inversion.encoding import BY_STRENGTH, SourceImage, SourcePrompt, tail
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, on_step, stepwise


@method(
    task="editing",
    paper="2304.06140",
    search=(
        "inversion", "invert and edit", "real image editing", "edit a photo", "edit my image", "noise maps",
        "DDPM inversion",
    ),
    traits=("finds_start", "encodes_start", "extracts_noise"),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
)
def edit_friendly_ddpm(
    sampler: Sampler,
    source: SourceImage,
    source_prompt: SourcePrompt,
    source_states: SourceStates,
    strength: Annotated[float, Knob(0.05, 1,
        help="The run starts with this fraction of the steps left: less keeps more of the image")] = 0.64,
    guided_network: Denoiser | None = None,
) -> Sampler:
    """Edit-friendly DDPM inversion.

    The image is noised to every level with independent noise, and what the sampler has to add to go from each of these
    states to the next is kept: the noise maps of that run. With them the source prompt gives the image back exactly,
    and another prompt changes what it speaks of (Huberman-Spiegelglas et al. 2024, Section 3).

        x[s] = source + s e[s],  all e independent
        z[s'] = x[s'] - sampler(x[s], source_prompt)
        x = sampler(x, prompt) + z[s']

    source: the image, latents (B, C, h, w). source_prompt: a prompt that describes it. source_states: where the
    states x[s] are kept, for methods that run the source beside the target. guided_network: the denoiser that the maps
    are taken with, that of the run where it is None; see `compose`.

    The paper's sampler is "Euler a", 100 steps, of which the first 36 are left out, with guidance 3.5 for the source
    and 15 for the edit; here both have that of the run. The maps are kept with their standard deviation. The last one
    is no noise but what the last denoised prediction lacks of the image; the official code leaves it out. With a
    sampler that draws no noise the maps are the whole of what it lacks."""

    def inverted(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        image, fresh = source.to(x), noise.child("edit_friendly_ddpm")
        part = tail(sigmas, strength)
        states = Noised(image, fresh)
        states.update({s: image + s * fresh(x) for s in part[:-1]})
        source_states.keep(states, source_prompt)
        start, silent = states[part[0]], Silent(noise)
        maps = yield from extracted(sampler(guided_network or D, start, part, source_prompt, silent), states)
        return (yield from on_step(sampler(D, start, part, cond, silent), lambda step: step.x + maps[step.sigma]))

    return inverted


class Noised(dict[float, Tensor]):
    """The image with noise of its own at every level; drawn when it is asked for, where it is none of the schedule,
    as the level at which a run is stopped."""

    def __init__(self, image: Tensor, fresh: Noise):
        super().__init__({0.0: image})
        self.image, self.fresh = image, fresh

    def __missing__(self, sigma: float) -> Tensor:
        self[sigma] = self.image + sigma * self.fresh(self.image)
        return self[sigma]


class Silent(Noise):
    """Zeros in place of the noise of the sampler; the streams of methods are what they were."""

    def __init__(self, noise: Noise):
        super().__init__(noise.seeds)
        self.noise = noise

    def __call__(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)

    def child(self, name: str) -> Noise:
        return self.noise.child(name)


def extracted(flow: Flow, states: dict[float, Tensor]) -> Flow:
    """The maps {level: (B, C, h, w)} that lead a run of a sampler along the states; it goes on from each of them."""
    maps: dict[float, Tensor] = {}

    def after(step: Step) -> Flow:
        s = step.sigma
        x = states[s] if s == 0 else (yield Step(states[s], step.x0, s, preparation=True))
        maps[s] = x - step.x
        return x

    yield from stepwise(flow, after)
    return maps
