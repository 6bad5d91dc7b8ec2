"""Runs of inversions on an exact mixture and on a random network, for the tests of this folder."""

import torch

from conditioning.compose import compose
from samplers import SAMPLERS
from samplers.flow import Noise, drive
from samplers.schedules import karras
from tests.support.oracle import mixture, start

SHAPE = (2, 4, 4)
oracle = mixture(shape=SHAPE)
sigmas = karras(12, 0.05, 20.0)
source = oracle.samples(2, seed=5)
cond, other = oracle.encode_prompt(["word0", "word1"]), oracle.encode_prompt(["word2", "word0"])
null = oracle.encode_prompt(["", ""])
euler, ancestral = SAMPLERS["euler"], SAMPLERS["ancestral"]


class Random:
    """A network that knows nothing: smooth, bounded, different for every prompt and level; float64."""

    def __init__(self, seed=0):
        stream = torch.Generator().manual_seed(seed)
        self.W = torch.randn(2, 32, 32, generator=stream, dtype=torch.float64) / 5

    def denoise(self, one):
        seen = one.x.flatten(1) / (1 + one.sigma[:, None] ** 2).sqrt()
        word = (one.cond["text"].clamp(min=-1) * torch.arange(3)).sum((1, 2))[:, None]
        return torch.tanh((seen + word) @ self.W[0] + one.sigma[:, None].log()).matmul(self.W[1]).view_as(one.x)


def events(stack, sampler=euler, levels=sigmas, prompt=cond, seeds=(1, 2), scale=1.0, net=oracle):
    """Of a run; scale: of classifier-free guidance."""
    guided = [("cfg", {"scale": scale})] if scale != 1 else []
    shared = {"null": null} if scale != 1 else {}
    D, made, _ = compose([*stack, *guided], sampler, sigmas=levels, backbone=oracle, **shared)
    x = start(list(seeds), levels[0], SHAPE)
    return [e for _, e in drive([made(D, x, levels, prompt, Noise(seeds))], net.denoise)]


def result(stack, *args, **kw):
    return events(stack, *args, **kw)[-1].result


def use(name, **values):
    return [(name, {"source": source, **({} if name == "sdedit" else {"source_prompt": cond}), **values})]


def error(a, b=source):
    return ((a - b).norm() / b.norm()).item()


def guided(scale):
    D, _, _ = compose([("cfg", {"scale": scale})], euler, null=null)
    return D
