"""The registry: what a method is called, what it takes and what it costs is read from its file, and from there only.

    @method(task="inpainting", paper="2201.09865")            # conditioning/sampling/correction/repaint.py
    def repaint(sampler, known: Image, mask: Mask, times: Annotated[int, Knob(1, 20)] = 5): ...

The family is the folder, the name is the function's. The docstring's first line is the title, its first paragraph
after that the summary, its first indented block the equation. The first parameter tells the kind: `D` a method
D -> D, `sampler` a method sampler -> sampler, `backbone` one that works on the network. Parameters with a Knob or a
Choice are knobs, those of a type from inputs.py are inputs, any others are filled in by name by `compose`.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from conditioning.curves import Curve
from conditioning.inputs import Box, Boxes, Image, Input, Map, Mask, Operator, Point, Points, Prompt, References, Words
from samplers import SAMPLERS

__all__ = [
    "FAMILIES", "METHODS", "NEEDS", "Box", "Boxes", "Choice", "Family", "Image", "Input", "Knob", "Map", "Mask",
    "Method", "Operator", "Point", "Points", "Prompt", "References", "Words", "find", "method",
]  # fmt: skip

KINDS = {"D": "denoiser", "sampler": "sampler", "backbone": "backbone"}

NEEDS = {  # what a method may need of a backbone beyond the interface; a backbone names what it has in `offers`
    "gradients": "gradients through the network",
    "attention": "attention layers that can be read and edited (Still Life and the Stable Diffusion families)",
    "unet": "a UNet (Still Life, Stable Diffusion 1, 2 and XL)",
    "pixels": "latents that are pixels, without an autoencoder (Still Life in pixels)",
    "adapter": "an adapter that was trained for it",
    "classifier": "a classifier of its noisy states, trained beside it (Still Life)",
    "controlnet": "a ControlNet that fits it (Still Life, Stable Diffusion 1.5 and XL have some)",
}


@dataclass(frozen=True)
class Family:
    name: str
    stage: str  # network or sampling
    order: int  # from the inner to the outer

    @property
    def summary(self) -> str:
        """What the family changes, in one sentence."""
        return (import_module(f"conditioning.{self.stage}.{self.name}").__doc__ or "").strip().splitlines()[0]


FAMILIES = {
    name: Family(name, stage, order)
    for order, (stage, name) in enumerate(
        [
            ("network", "training"),
            ("network", "repurposing"),
            ("network", "specialization"),
            ("sampling", "attention"),
            ("sampling", "blending"),
            ("sampling", "guidance"),
            ("sampling", "revision"),
            ("sampling", "correction"),
            ("sampling", "inversion"),
        ]
    )
}


@dataclass(frozen=True)
class Knob:
    """A number between low and high. At `neutral` the whole method does nothing, bit for bit."""

    low: float
    high: float
    neutral: float | None = None
    curve: bool = False  # a strength: also takes a Curve over the steps
    help: str = ""
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
    help: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    default: Any = None  # from the signature

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError, naming the knob, unless the value is one of the options."""
        if value not in self.options:
            raise ValueError(f"{name} is {value!r}: give one of {', '.join(self.options)}")


@dataclass(frozen=True)
class Method:
    """A method as the rest of the house sees it. Call `function` to use it by hand."""

    name: str
    function: Callable[..., Any]
    family: Family
    kind: str  # denoiser, sampler or backbone
    task: str
    paper: str  # arXiv number
    title: str
    summary: str
    equation: str
    knobs: Mapping[str, Knob | Choice]
    inputs: Mapping[str, Input]
    optional: frozenset[str]  # inputs that may be left out
    fills: frozenset[str]  # parameters that `compose` fills in by name
    needs: tuple[str, ...] = ()
    clashes: Mapping[str, str] = field(default_factory=dict)
    calls: int | None = 1
    rows: int | None = 1
    within: int = 0

    def needed(self, knobs: Mapping[str, Any]) -> list[str]:
        """Names of the inputs that it cannot do without, at these knobs and the defaults of the others."""
        choices = {name: one for name, one in self.knobs.items() if isinstance(one, Choice)}
        chosen = {one.inputs.get(knobs.get(name, one.default)) for name, one in choices.items()}
        return [name for name in self.inputs if name not in self.optional or name in chosen]


METHODS: dict[str, Method] = {}


def method(
    task: str,
    paper: str,
    needs: tuple[str, ...] = (),
    clashes: Mapping[str, str] | None = None,
    calls: int | None = 1,
    rows: int | None = 1,
    within: int = 0,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a method under its function's name and gives the function back as it is.

    needs: keys of NEEDS. clashes: name of a method or a sampler -> why the two do not go together.
    calls, rows: network calls, and rows in them for each row of x, that one ask of the sampler becomes at the
        defaults; None where that depends on the picture or the schedule.
    within: place inside the family, lower is further in.
    Raises ValueError, naming the file, where the declaration is incomplete: the start fails.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        try:
            described = _describe(function)
        except ValueError as error:
            raise ValueError(f"method {name} ({function.__module__}): {error}") from None
        for need in needs:
            if need not in NEEDS:
                raise ValueError(f"method {name} needs {need!r}: give some of {', '.join(NEEDS)}")
        if name in METHODS:
            raise ValueError(f"method {name} is in {METHODS[name].function.__module__} and in {function.__module__}")
        METHODS[name] = Method(
            name=name, function=function, task=task, paper=paper, needs=needs, clashes=dict(clashes or {}),
            calls=calls, rows=rows, within=within, **described,
        )  # fmt: skip
        return function

    return register


def find(name: str) -> Method:
    """The method of that name. Raises ValueError with the nearest name, or with all of them."""
    if name not in METHODS:
        near = get_close_matches(name, METHODS, 1)
        raise ValueError(f"no method {name!r}: " + (f"did you mean {near[0]}?" if near else f"there are {_all()}"))
    return METHODS[name]


def check_clashes() -> None:
    """Raises ValueError where a method clashes with a name that is neither a method nor a sampler."""
    for one in METHODS.values():
        for other in one.clashes:
            if other not in METHODS and other not in SAMPLERS:
                raise ValueError(f"method {one.name} clashes with {other!r}: there are {_all()}, {', '.join(SAMPLERS)}")


def _describe(function: Callable[..., Any]) -> dict[str, Any]:
    """What the signature, the docstring and the folder say: the fields of Method."""
    family = next((FAMILIES[part] for part in function.__module__.split(".") if part in FAMILIES), None)
    if family is None:
        raise ValueError(f"put it into a folder of conditioning/ with the name of its family: {', '.join(FAMILIES)}")
    hints = get_type_hints(function, include_extras=True)
    first, *others = inspect.signature(function).parameters.values()
    if first.name not in KINDS or (first.name == "backbone") != (family.stage == "network"):
        raise ValueError(f"its first parameter is {first.name}: call it D or sampler, and backbone in network/")
    knobs: dict[str, Knob | Choice] = {}
    inputs: dict[str, Input] = {}
    for parameter in others:
        kind, note = _annotation(hints.get(parameter.name))
        if isinstance(note, Input):
            inputs[parameter.name] = note
        elif note is not None and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"knob {parameter.name} has no default")
        elif isinstance(note, Choice):
            knobs[parameter.name] = replace(note, default=parameter.default)
            note.check(parameter.name, parameter.default)
        elif isinstance(note, Knob):
            knob = knobs[parameter.name] = replace(note, default=parameter.default, type=kind)
            knob.check(parameter.name, parameter.default)
    for name, choice in ((name, one) for name, one in knobs.items() if isinstance(one, Choice)):
        for option, given in choice.inputs.items():
            if option not in choice.options or given not in inputs:
                raise ValueError(f"choice {name} tells an input {given!r} of option {option!r}: give some of "
                                 f"{', '.join(inputs) or 'none'}, of options {', '.join(choice.options)}")  # fmt: skip
    return {
        "family": family,
        "kind": KINDS[first.name],
        "knobs": knobs,
        "inputs": inputs,
        "optional": frozenset(p.name for p in others if p.name in inputs and p.default is not p.empty),
        "fills": frozenset(p.name for p in others if p.name not in knobs and p.name not in inputs),
        **_docstring(function),
    }


def _annotation(hint: Any) -> tuple[Any, Input | Knob | Choice | None]:
    """The type and the note of Annotated[type, note], also as one side of a union."""
    if get_origin(hint) in (Union, types.UnionType):
        found = [_annotation(side) for side in get_args(hint)]
        return next((one for one in found if one[1] is not None), (hint, None))
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return kind, next((note for note in notes if isinstance(note, (Input, Knob, Choice))), None)
    return hint, None


def _docstring(function: Callable[..., Any]) -> dict[str, str]:
    blocks = (inspect.getdoc(function) or "").split("\n\n")
    title = blocks[0].strip()
    plain = [" ".join(block.split()) for block in blocks[1:] if not block.startswith("    ")]
    indented = [inspect.cleandoc("\n" + block) for block in blocks[1:] if block.startswith("    ")]
    if "\n" in title or not title or not plain or not indented:
        raise ValueError("its docstring needs a title of one line, a paragraph, and the equation as an indented block")
    return {"title": title.rstrip("."), "summary": plain[0], "equation": indented[0]}


def _a(kind: type) -> str:
    return "an integer" if kind is int else "a number"


def _all() -> str:
    return ", ".join(METHODS) or "none"
