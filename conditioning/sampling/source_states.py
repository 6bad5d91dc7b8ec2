"""The source of an edit, level by level: written by inversions, read by methods that run the source beside the target.

    def direct_inversion(sampler, source: Image, source_states: SourceStates): source_states.keep(...)
    def masactrl(sampler, source_states: SourceStates): x_source = source_states.at(sigma) if source_states else ...

`compose` makes one for every run and fills it in by the parameter's name. An inversion that keeps the source exact
writes it before the sampler starts; under any other stack it stays empty, and who needs the source runs it himself,
from the start that it shares with the target.
"""

from collections.abc import Mapping
from math import isclose

from torch import Tensor

from samplers.protocol import Cond
from samplers.schedules import highest


class SourceStates:
    """States of the source by level, and the prompt they belong to. Empty (and false) until an inversion writes it."""

    def __init__(self) -> None:
        self.states: dict[float, Tensor] = {}  # level -> (B, C, h, w), VE coordinates; level 0 is the source itself
        self.cond: Cond = {}  # of source_prompt

    def __bool__(self) -> bool:
        return bool(self.states)

    def keep(self, states: Mapping[float, Tensor], cond: Cond) -> None:
        """Writes it, in place of what was there."""
        self.states, self.cond = dict(sorted(states.items())), cond

    def at(self, sigma: float | Tensor) -> Tensor:
        """The state at a level: exactly where one is stored, on the chord (DDIM's path) between two that are.

        sigma: a float, or (B,) equal levels. Raises ValueError outside of what is stored.
        """
        sigma, levels = highest(sigma), list(self.states)
        for level in levels:
            if isclose(level, sigma, rel_tol=1e-6):  # a level that went through float32 is still that level
                return self.states[level]
        below = max((s for s in levels if s < sigma), default=None)
        above = min((s for s in levels if s > sigma), default=None)
        if below is None or above is None:
            stored = f"{levels[0]:g} to {levels[-1]:g}" if levels else "nothing"
            raise ValueError(f"no state of the source at sigma {sigma:g}: stored is {stored}")
        part = (sigma - below) / (above - below)
        return self.states[below] + part * (self.states[above] - self.states[below])
