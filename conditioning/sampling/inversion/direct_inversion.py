from collections.abc import Sequence

from torch import Tensor

from conditioning.registry import method
from conditioning.sampling.inversion.encoding import (
    BY_STRENGTH,
    FixedPointIterations,
    InversionSteps,
    SourceImage,
    SourcePrompt,
    Strength,
    ddim_encode,
    tail,
)
from conditioning.sampling.source_states import SourceStates
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler


@method(
    task="editing",
    paper="2310.01506",
    search=(
        "inversion", "invert and edit", "real image editing", "edit a photo", "edit my image", "PnP inversion",
    ),
    traits=("finds_start", "encodes_start", "retraces_path"),
    starts_at=BY_STRENGTH,
    nfe=None,
    rows=None,
)
def direct_inversion(
    sampler: Sampler,
    source: SourceImage,
    source_prompt: SourcePrompt,
    network: Denoiser,
    source_states: SourceStates,
    strength: Strength = 1.0,
    between: InversionSteps = 1,
    again: FixedPointIterations = 10,
) -> Sampler:
    """Direct inversion (PnP inversion).

    The image is encoded by DDIM, and the states on the way are kept: where a method of attention runs the source
    beside the target, the source is at every level put back to its state there, so that it ends as the image itself,
    while the target is left alone (Ju et al. 2024, Algorithm 1).

        source:  x_s = x_s + (encoded[s] - x_s) = encoded[s]
        target:  as the sampler goes, from encoded[s_0]

    source: the image, latents (B, C, h, w). source_prompt: a prompt that describes it. network: what the encoding
    asks. source_states: where the states are kept; prompt-to-prompt, MasaCtrl and plug-and-play read it. Without one of
    these it is DDIM inversion.

    It costs nothing beyond DDIM inversion, and needs neither guidance nor its scale to be known before. Its steps are
    corrected, unlike the paper's (`again` 0): in few steps a plain encoding ends far from any noise that the network
    knows, and there the target starts.
    """

    def inverted(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        part = tail(sigmas, strength)
        states = yield from ddim_encode(network, source.to(x), part, source_prompt, between=between, again=again)
        source_states.keep(states, source_prompt)
        return (yield from sampler(D, states[part[0]], part, cond, noise))

    return inverted
