"""What a solver is called, what it takes and what it costs is read from its file, as it is for methods.

    @solver("Euler a", paper="2010.02502", order=1, stochastic=True)               # samplers/ancestral.py
    def ancestral(D, x, sigmas, cond, noise, eta: Annotated[float, Knob(0, 1, help="...")] = 1.0): ...

The key is the function's name, the summary the first line of its docstring, and parameters with a Knob are its knobs.
Further parameters are variants for tests and the bench, which no recipe names: they have a default.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from common.knobs import Knob, annotation
from samplers.noise import Noise
from samplers.protocol import Cond, Denoiser, Flow, Sampler

OF_A_SAMPLER = ("D", "x", "sigmas", "cond", "noise")
Function = TypeVar("Function", bound=Callable[..., Flow])


@dataclass(frozen=True)
class Solver:
    """A sampler as the page offers it; call it as the sampler that it is, with its knobs at their defaults."""

    key: str
    label: str  # the word that users of other tools know
    function: Callable[..., Flow]
    paper: str  # arXiv number
    order: int  # the error falls with the number of steps to this power; of a stochastic one, without its noise
    nfe: int = 1  # network evaluations a step, at most
    stochastic: bool = False  # draws noise on the way
    renoises: bool = False  # goes up again in between, to levels that are not its Steps'
    between: bool = False  # asks the network at levels between those of the schedule, too
    knobs: Mapping[str, Knob] = field(default_factory=dict)

    def __call__(self, D: Denoiser, x: Tensor, sigmas: Sequence[float], cond: Cond, noise: Noise) -> Flow:
        return self.function(D, x, sigmas, cond, noise)

    def at(self, knobs: Mapping[str, Any]) -> Sampler:
        """The solver with these knobs, and the others at their defaults. Raises ValueError or TypeError, naming the
        knob, for one that it has not or that cannot have this value."""
        for name, value in knobs.items():
            if name not in self.knobs:
                raise ValueError(f"{self.key} has no knob {name!r}: it has {', '.join(self.knobs) or 'none'}")
            self.knobs[name].check(name, value)
        return partial(self.function, **knobs) if knobs else self

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


SOLVERS: dict[str, Solver] = {}  # in the order in which their files are read; see samplers.SAMPLERS


def solver(
    label: str,
    *,
    paper: str,
    order: int,
    nfe: int = 1,
    stochastic: bool = False,
    renoises: bool = False,
    between: bool = False,
) -> Callable[[Function], Function]:
    """Registers a sampler under its function's name and gives the function back as it is. See `Solver` for the rest.

    Raises ValueError, naming the file, where the declaration is incomplete: the start fails.
    """

    def register(function: Function) -> Function:
        name, where = function.__name__, function.__module__
        try:
            if name in SOLVERS:
                raise ValueError(f"there is one of this name in {SOLVERS[name].function.__module__}")
            SOLVERS[name] = Solver(
                name, label, function, paper, order, nfe, stochastic, renoises, between, _knobs(function)
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise ValueError(f"solver {name} ({where}): {error}") from None
        return function

    return register


def _knobs(function: Callable[..., Any]) -> dict[str, Knob]:
    if not (function.__doc__ or "").strip():
        raise ValueError("its docstring needs a first line that says what it is")
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())
    if tuple(one.name for one in parameters[:5]) != OF_A_SAMPLER:
        raise ValueError(f"its parameters begin with {', '.join(OF_A_SAMPLER)}")
    knobs: dict[str, Knob] = {}
    for one in parameters[5:]:
        if one.default is inspect.Parameter.empty:
            raise ValueError(f"parameter {one.name} has no default")
        kind, note = annotation(hints.get(one.name))
        if note is not None:
            knobs[one.name] = replace(note, default=one.default, type=kind)
            knobs[one.name].check(one.name, one.default)
    for name, knob in knobs.items():
        if knob.curve or (knob.ignored_when is not None and knob.ignored_when[0] not in knobs):
            raise ValueError(f"knob {name}: a solver takes no curve, and is ignored at a value of its own knobs")
    return knobs
