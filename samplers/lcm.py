from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from samplers.flow import Cond, Denoiser, Flow, Noise, Step
from samplers.solver import solver


@solver("LCM", paper="2310.04378", order=0, stochastic=True)
def lcm(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
    """Multistep consistency sampling: to the end at once, back with fresh noise (Luo et al. 2023, arXiv 2310.04378).

    x (B, C, H, W) at level sigmas[0] -> x at sigmas[-1]; one network evaluation a step; stochastic. For networks
    distilled to give the end of the trajectory instead of the mean of all ends (Song et al. 2023, arXiv 2303.01469,
    Alg. 1), in 1 to 8 steps; of any other network it draws too smooth images."""
    for s, s_next in pairwise(sigmas):
        x0 = yield from D(x, s, cond)  # (B, C, H, W)
        x = yield Step(x0 + s_next * noise(x) if s_next > 0 else x0, x0, s_next)
    return x
