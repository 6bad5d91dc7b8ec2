"""A source image that is denoised beside the target, so that its attention is there to be taken.

Both go through one sampler as rows of one state, from the same start and with the same noise; what is outside sees the
target only. At every level the source is asked first, with a `Record`, and then the target with the edit that a method
makes of it. Rows of the source come from the run's `source_states` where an inversion has written one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from conditioning.sampling.source_states import SourceStates
from samplers.flow import Cond, Denoiser, Flow, Noise, Sampler, Step, role_of, stepwise, together, with_role
from samplers.protocol import ROLES
from samplers.schedules import highest

EVERYTHING = {role: role for role in ROLES}


class Record:
    """An edit that changes nothing, and keeps what attention is made of and what residual blocks add."""

    def __init__(self) -> None:
        self.sites: list[Any] = []  # of attention, in the order they are run
        self.made: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # name of a site -> q, k, v
        self.added: dict[str, Tensor] = {}  # name of a block -> (B, C, h, w)

    def attend(self, site: Any, q: Tensor, k: Tensor, v: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        self.sites.append(site)
        self.made[site.name] = q.detach(), k.detach(), v.detach()
        return plain(q, k, v)

    def feature(self, site: Any, h: Tensor) -> Tensor:
        self.added[site.name] = h.detach()
        return h

    def maps(self, site: Any) -> Tensor:
        """Its attention maps at a site, (B, heads, N, M)."""
        q, k, _ = self.made[site.name]
        maps: Tensor = site.maps(q, k)
        return maps


def middle(sites: Sequence[Any]) -> tuple[int, int]:
    """The size of the maps nearest to 16 x 16, where words are separated best; (0, 0) where there are no maps."""
    sizes = {(site.height, site.width) for site in sites if site.height}
    return min(sizes, key=lambda size: abs(math.log(size[0] * size[1] / 256)), default=(0, 0))


class Pair:
    """One evaluation of source and target at one level.

    An ask has a role: it is for the prompt, the source's or the target's, for the negative one, or for another, as of
    a second concept.
    """

    def __init__(self, level: float, takes: Mapping[str, str], edit: "Edit"):
        self.level, self.takes, self.edit = level, takes, edit
        self.records: dict[str, list[Record]] = {}  # role -> of the source's asks, in order
        self.edits: dict[str, list[Any]] = {}  # role -> of the target's asks, in order

    def of_source(self, cond: Cond) -> Record | None:
        """The edit of an ask of the source."""
        role = role_of(cond)
        if role not in self.takes.values():
            return None
        self.records.setdefault(role, []).append(Record())
        return self.records[role][-1]

    def of_target(self, cond: Cond) -> Any:
        """The edit of an ask of the target."""
        role = role_of(cond)
        if role not in self.takes:
            return None
        records = self.records[self.takes[role]]
        made = self.edits.setdefault(role, [])
        made.append(self.edit(self, role, records[len(made) % len(records)]))
        return made[-1]


# The pair, the role of the target's ask, and what the source's ask keeps, which is yet to be answered -> an edit.
Edit = Callable[[Pair, str, Record], Any]


class Twice(Noise):
    """The same numbers for the source and for the target."""

    def __init__(self, noise: Noise):
        self.noise = noise

    def __len__(self) -> int:
        return 2 * len(self.noise)

    def __call__(self, like: Tensor) -> Tensor:
        z = self.noise(like[: len(like) // 2])
        return torch.cat([z, z])

    def child(self, name: str) -> "Twice":
        return Twice(self.noise.child(name))


class Source:
    """What is denoised beside the target: the cond of its prompt, and its states by level.

    source_states: the run's; where an inversion has written one, states are taken from there.
    """

    def __init__(self, cond: Cond, source_states: SourceStates | None = None):
        self.cond, self.source_states = with_role(cond, "prompt"), source_states
        self.states: dict[float, Tensor] = {}

    def enter(self, level: float, x: Tensor) -> Tensor:
        """Its state where a descent of the target begins at x: the same x, or what it was at that level before."""
        if self.states and level >= max(self.states):
            self.states.clear()  # another run
        return self.reach(level, self.states.get(level, x))

    def reach(self, level: float, x: Tensor) -> Tensor:
        """Its state at a level where its own step led to x."""
        self.states[level] = self.source_states.at(level).to(x) if self.source_states else x
        return self.states[level]


def lockstep(
    sampler: Sampler,
    source: Source,
    takes: Mapping[str, str],
    edit: Edit,
    acts: Callable[[float], bool],
    low: float,
    mix: Callable[[Tensor, Tensor, float], Tensor] | None = None,
) -> Sampler:
    """The same sampler, with the source beside the target.

    takes: role of an ask of the target -> that of the source's ask whose record it takes; asks of other roles have no
    edit. edit: makes it. acts: whether it does at a level. low: the source is not looked at any more at this level and
    below. mix(x_source, x_target, sigma) -> x_target is done after each step.

    A descent that begins at a level reached before, as in time travel, finds the source as it was there.
    """

    def beside(D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        B, prompt = len(x), with_role(cond, "prompt")

        def both(x: Tensor, sigma: float, _cond: Cond, **_: Any) -> Flow:
            level = highest(sigma)
            if level <= low:
                x0 = yield from D(x[B:], sigma, prompt)
                return torch.cat([x0, x0])
            pair = Pair(level, takes if acts(level) else {}, edit)
            x0s = yield from together(
                D(x[:B], sigma, source.cond, edit=pair.of_source),
                D(x[B:], sigma, prompt, edit=pair.of_target),
            )
            return torch.cat(x0s)

        def after(step: Step) -> Flow:
            reached = source.reach(step.sigma, step.x[:B])
            target = step.x[B:] if mix is None else mix(reached, step.x[B:], step.sigma)
            target = yield replace(step, x=target, x0=step.x0[B:])
            return torch.cat([reached, target])

        start = torch.cat([source.enter(sigmas[0], x), x])
        return (yield from stepwise(sampler(both, start, sigmas, cond, Twice(noise)), after))[B:]

    return beside
