"""Numbers and words that a person may set: of a method, of a solver. Declared at the parameter of its function.

def ancestral(D, x, sigmas, cond, noise, eta: Annotated[float, Knob(0, 1, help="...")] = 1.0): ...
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from common.curves import Curve


@dataclass(frozen=True)
class Knob:
    """A number between low and high. At `neutral` the whole method does nothing, bit for bit."""

    low: float
    high: float
    neutral: float | None = None
    curve: bool = False  # a strength: also takes a Curve over the steps
    label: str = ""  # what it is called, as in its paper or in other tools; "": as the parameter
    help: str = ""
    ignored_when: tuple[str, Any] | None = None  # (another knob or input, its value; None: not given)
    counts_steps: bool = False  # of the run: from as many as it makes on there is nothing to repeat
    default: Any = None  # from the signature
    type: type = float  # from the annotation

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError or TypeError, naming the knob, unless it can be set to the value."""
        if isinstance(value, Curve) and not self.curve:
            raise TypeError(f"{name} is the curve {str(value)!r}: it takes one number for the whole run")
        for one in value.values if isinstance(value, Curve) else [value]:
            if isinstance(one, bool) is not (self.type is bool) or not isinstance(one, (int, float)):
                raise TypeError(f"{name} is {one!r}: give {_a(self.type)} from {self.low} to {self.high}")
            if not self.low <= one <= self.high or (self.type is int and one != int(one)):
                raise ValueError(f"{name} is {one!r}: give {_a(self.type)} from {self.low} to {self.high}")


@dataclass(frozen=True)
class Choice:
    """One of a few words. inputs: option -> the input that it cannot do without, which others may."""

    options: tuple[str, ...]
    label: str = ""
    help: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    default: Any = None  # from the signature

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError, naming the knob, unless the value is one of the options."""
        if value not in self.options:
            raise ValueError(f"{name} is {value!r}: give one of {', '.join(self.options)}")


def label(name: str) -> str:
    """What a parameter without a label of its own is called: "made_by" -> "Made by"."""
    return name.replace("_", " ").capitalize()


def annotation(hint: Any, kinds: tuple[type, ...] = (Knob,)) -> tuple[Any, Any]:
    """The type and the note, of one of these kinds, of Annotated[type, note], also as one side of a union."""
    if get_origin(hint) in (Union, types.UnionType):
        sides = [annotation(side, kinds) for side in get_args(hint)]
        return next((one for one in sides if one[1] is not None), (hint, None))
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return kind, next((note for note in notes if isinstance(note, kinds)), None)
    return hint, None


def _a(kind: type) -> str:
    return "an integer" if kind is int else "a number"
