"""A backbone under plain guidance, without the registry."""

from samplers import SAMPLERS
from samplers.flow import Noise, ask, run, together

PROMPT, NEGATIVE, SCALE = "a red sphere on grass", "blue", 4.0


def denoiser(backbone, prompt=PROMPT, negative=NEGATIVE, scale=SCALE):
    text, null = backbone.encode_prompt([prompt]), backbone.encode_prompt([negative])

    def D(x, sigma, cond=None, **kw):
        c, u = yield from together(ask(x, sigma, text, **kw), ask(x, sigma, null, **kw))
        return u + scale * (c - u)

    return D


def sample(backbone, x, sigmas, sampler="euler", **kw):
    flow = SAMPLERS[sampler](denoiser(backbone, **kw), x, sigmas, {}, Noise([0]))
    return run(flow, backbone.denoise)
