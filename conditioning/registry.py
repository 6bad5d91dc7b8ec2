"""The registry: what a method is called, what it takes and what it costs is read from its file, and from there only.

    @method(task="inpainting", paper="2201.09865")            # conditioning/sampling/correction/repaint.py
    def repaint(sampler, known: Image, mask: Mask, times: Annotated[int, Knob(1, 20)] = 5): ...

The family is the folder, the name is the function's. The docstring's first line is the title, its first paragraph
after that the summary, its first indented block the equation; a paragraph that begins with `DIFFERS` says where
this is not what the authors wrote or run. The first parameter tells the kind: `D` a method
D -> D, `sampler` a method sampler -> sampler, `backbone` one that works on the network. Parameters with a Knob or a
Choice are knobs, those of a type from inputs.py are inputs, and any others have a name of RUN_ARGUMENTS and come from
`compose`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_type_hints

from common.knobs import Choice, Knob, annotation
from common.knobs import label as plain_label
from conditioning.inputs import (
    Box,
    Boxes,
    Help,
    Image,
    ImagePrompts,
    Input,
    IPAdapterName,
    Loras,
    Map,
    Mask,
    NetworkName,
    Operator,
    Point,
    Points,
    Prompt,
    References,
    T2IAdapterName,
    Words,
)  # fmt: skip
from conditioning.traits import TRAITS
from samplers.schedules import part_of

__all__ = [
    "FAMILIES", "METHODS", "NEEDS", "RUN_ARGUMENTS", "Box", "Boxes", "Choice", "Family", "Help", "IPAdapterName",
    "Image", "ImagePrompts", "Input", "Interval", "Knob", "Loras", "Map", "Mask", "Method", "Misfit", "NetworkName",
    "Operator", "Point", "Points", "Prompt", "References", "Start", "T2IAdapterName", "Words", "find", "method",
]  # fmt: skip

DIFFERS = "The authors do otherwise:"  # begins the paragraph of a docstring that says how
KINDS = {"D": "denoiser", "sampler": "sampler", "backbone": "backbone"}

NEEDS = {  # what a method may need of a backbone beyond the interface; a backbone names what it has in `offers`
    "prompts": "a network that reads prompts (Still Life, Stable Diffusion, the transformers)",
    "gradients": "gradients through the network",
    "attention.cross": "attention to words that can be read and edited",
    "attention.self": "attention within the image that can be edited (not Sana, whose is linear)",
    "features": "a UNet's features that can be edited (Still Life and Stable Diffusion)",
    "pixels": "latents that are pixels, without an autoencoder (Still Life in pixels)",
    "inpainting network": "a network made for inpainting, with the mask and the rest of the image among its inputs "
    "(Stable Diffusion Inpainting, FLUX.1 Fill)",
    "editing network": "a network made for editing by instruction, with an image among its inputs (InstructPix2Pix)",
    "reference images": "a network that reads images as further tokens (FLUX.1 Kontext, FLUX.2 klein)",
    "distilled guidance": "a network with its guidance scale among its inputs (FLUX.1 dev, latent consistency models)",
    "lora": "layers that LoRA files change (Still Life, Stable Diffusion, and diffusion transformers)",
    "adapter": "an adapter that was trained for it",
    "classifier": "a classifier of its noisy states, trained beside it (Still Life)",
    "controlnet": "a ControlNet that fits it (Still Life has some; for Stable Diffusion 1.5, XL and 3, FLUX.1 and "
    "Qwen-Image there are usual ones)",
    "t2i adapter": "a T2I-Adapter that fits it (Stable Diffusion 1.5 and XL have some)",
    "ip adapter": "an IP-Adapter that fits it, with its image encoder (Stable Diffusion 1.5 and XL have some)",
}


RUN_ARGUMENTS = {  # parameters that come from the run and not from a person: the name alone says what a method gets
    "sigmas": "the whole schedule of the run, steps + 1 falling levels",
    "made_sigmas": "the part of the schedule whose steps are made: all, unless a method finds a later start",
    "null": "the cond of the negative prompt",
    "backbone": "what encodes, decodes and knows its words",
    "network": "the innermost denoiser: the network with all that belongs to it, as adapters and learned labels",
    "guided_network": "the network under classifier-free guidance, and nothing else that steers",
    "prompt_files": "the opened LoRA files that the prompt names",
    "source_states": "states of the source of an edit by level, which an inversion writes for others to read",
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
class Interval:
    """Knobs that are parts 0..1 of the steps, between which a method acts; None is the first or the last step.

    at_next_level: whether it acts on the level that a step reaches, and not on the one that it leaves. disables_method:
    whether the method does nothing at all outside of its intervals, and not only what the knobs are for.
    """

    start: str | None = None
    end: str | None = None
    at_next_level: bool = False
    disables_method: bool = True


@dataclass(frozen=True)
class Start:
    """Where a method lets the run begin. knob: the fraction of the steps that is made, or that is skipped."""

    knob: str
    skipped: bool = False

    def left_out(self, steps: int, knobs: Mapping[str, Any]) -> int:
        """How many of the steps of the schedule are left out, with all knobs of the method."""
        fraction = knobs[self.knob]
        return steps - part_of(steps, 1 - fraction if self.skipped else fraction)


@dataclass(frozen=True)
class Misfit:
    """A knob that does not go with the size of the image, or with another knob at this size. why: in words, to follow
    "the knob's label: ". refused: whether the method cannot run so; if not, it does nothing at all."""

    knob: str
    why: str
    refused: bool = True


Misfits = Callable[[Mapping[str, Any], tuple[int, int], Any], Iterable[Misfit]]  # all knobs, latent (h, w), backbone


@dataclass(frozen=True)
class Method:
    """A method as the rest of the program sees it. Call `function` to use it by hand."""

    name: str
    function: Callable[..., Any]
    family: Family
    kind: str  # denoiser, sampler or backbone
    task: str
    paper: str  # arXiv number
    title: str
    summary: str
    equation: str
    differs: str  # what the authors do otherwise, in words; "" where nothing is known
    knobs: Mapping[str, Knob | Choice]
    inputs: Mapping[str, Input]
    optional: frozenset[str]  # inputs that may be left out
    run_arguments: frozenset[str]  # parameters that `compose` fills in by name
    search: tuple[str, ...] = ()  # what people look for who want it, the aptest first
    needs: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, Any] | None] = field(default_factory=dict)  # trait -> (knob, value) it holds at
    starts_at: Start | None = None
    misfits: Misfits | None = None
    intervals: tuple[Interval, ...] = ()
    no_effect_at: Mapping[str, Any] = field(default_factory=dict)  # knobs, at whose values it does nothing
    nfe: int | None = 1
    rows: int | None = 1
    order_in_family: int = 0

    def has(self, trait: str, knobs: Mapping[str, Any]) -> bool:
        """Whether a trait holds at these knobs and the defaults of the others. At a neutral knob none does."""
        if trait not in self.traits or self.neutral(knobs) is not None:
            return False
        where = self.traits[trait]
        return where is None or knobs.get(where[0], self.knobs[where[0]].default) == where[1]

    def neutral(self, knobs: Mapping[str, Any]) -> str | None:
        """The knob whose value leaves the whole method without effect, if there is one."""
        now = self.with_defaults(knobs)
        if self.no_effect_at and all(now[name] == value for name, value in self.no_effect_at.items()):
            return next(iter(self.no_effect_at))
        numbers = {name: one.neutral for name, one in self.knobs.items() if isinstance(one, Knob)}
        return next((name for name, value in numbers.items() if value is not None and now[name] == value), None)

    def with_defaults(self, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """Its knobs and nothing else: those that are given, the others at their defaults."""
        return {name: knobs.get(name, one.default) for name, one in self.knobs.items()}

    def misfits_at(self, knobs: Mapping[str, Any], width: int, height: int, backbone: Any) -> list[Misfit]:
        """At these knobs and the defaults of the others, for an image of so many pixels. [] for a size that the
        backbone does not take at all."""
        if self.misfits is None:
            return []
        try:
            _, h, w = backbone.latent_shape(width, height)
        except ValueError:
            return []
        return list(self.misfits(self.with_defaults(knobs), (h, w), backbone))

    def label(self, name: str) -> str:
        """What its knob or input of that name is called."""
        one = self.knobs.get(name) or self.inputs.get(name)
        return (one.label if one else "") or plain_label(name)

    def needed(self, knobs: Mapping[str, Any]) -> list[str]:
        """Names of the inputs that it cannot do without, at these knobs and the defaults of the others."""
        choices = {name: one for name, one in self.knobs.items() if isinstance(one, Choice)}
        chosen = {one.inputs.get(knobs.get(name, one.default)) for name, one in choices.items()}
        return [name for name in self.inputs if name not in self.optional or name in chosen]


METHODS: dict[str, Method] = {}


def method(
    task: str,
    paper: str,
    search: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    traits: Iterable[str] | Mapping[str, tuple[str, Any] | None] = (),
    starts_at: Start | None = None,
    misfits: Misfits | None = None,
    intervals: tuple[Interval, ...] = (),
    no_effect_at: Mapping[str, Any] = {},
    nfe: int | None = 1,
    rows: int | None = 1,
    order_in_family: int = 0,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a method under its function's name and gives the function back as it is.

    search: words by which people look for it who do not know its name, the aptest first: "img2img", "regional prompt".
    needs: keys of NEEDS. traits: keys of TRAITS, from which follows what it does not go with; as a mapping with the
        (knob, value) at which one holds. starts_at: of a method that finds the start. misfits: (all its knobs, height
        and width of the latents, the backbone) -> the knobs that do not go with that size. intervals: its knobs that
        are parts of the steps.
    no_effect_at: values of knobs at which, all together, it does nothing; for one knob alone see `Knob.neutral`.
    nfe, rows: network evaluations, and rows in them for each row of x, that one ask of the sampler becomes at the
        defaults; None where that depends on the image or the schedule.
    order_in_family: place inside the family, lower is further in.
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
        held = dict(traits) if isinstance(traits, Mapping) else dict.fromkeys(traits)
        _check(name, held, starts_at, intervals, no_effect_at, described["knobs"])
        if name in METHODS:
            raise ValueError(f"method {name} is in {METHODS[name].function.__module__} and in {function.__module__}")
        METHODS[name] = Method(
            name=name, function=function, task=task, paper=paper, search=search, needs=needs, traits=held,
            starts_at=starts_at, misfits=misfits, intervals=intervals, no_effect_at=no_effect_at, nfe=nfe, rows=rows,
            order_in_family=order_in_family, **described,
        )  # fmt: skip
        return function

    return register


def find(name: str) -> Method:
    """The method of that name. Raises ValueError with the nearest name, or with all of them."""
    if name not in METHODS:
        near = get_close_matches(name, METHODS, 1)
        raise ValueError(f"no method {name!r}: " + (f"did you mean {near[0]}?" if near else f"there are {_all()}"))
    return METHODS[name]


def _check(
    name: str,
    traits: Mapping[str, tuple[str, Any] | None],
    starts_at: Start | None,
    intervals: Iterable[Interval],
    no_effect_at: Iterable[str],
    knobs: Mapping[str, Any],
) -> None:
    """Raises ValueError for a trait that there is not, and where traits or intervals name a knob that there is not."""
    for trait, where in traits.items():
        if trait not in TRAITS:
            raise ValueError(f"method {name} has the trait {trait!r}: give some of {', '.join(TRAITS)}")
        if where is not None and where[0] not in knobs:
            raise ValueError(f"method {name} has the trait {trait} at a knob {where[0]!r}: it has {', '.join(knobs)}")
    if ("finds_start" in traits) is not (starts_at is not None):
        raise ValueError(f"method {name}: give starts_at with the trait finds_start, and only with it")
    ends = [end for one in intervals for end in (one.start, one.end) if end is not None]
    for knob in (*no_effect_at, *([starts_at.knob] if starts_at else []), *ends):
        if knob not in knobs:
            raise ValueError(f"method {name} declares something of a knob {knob!r}: it has {', '.join(knobs)}")


def _describe(function: Callable[..., Any]) -> dict[str, Any]:
    """What the signature, the docstring and the folder say: the fields of Method."""
    family = next((FAMILIES[part] for part in function.__module__.split(".") if part in FAMILIES), None)
    if family is None:
        raise ValueError(f"put it into a folder of conditioning/ with the name of its family: {', '.join(FAMILIES)}")
    hints = get_type_hints(function, include_extras=True)
    first, *others = inspect.signature(function).parameters.values()
    kinds = ("backbone", "D") if family.stage == "network" else ("D", "sampler")
    if first.name not in kinds:
        raise ValueError(f"its first parameter is {first.name}: call it {' or '.join(kinds)} in {family.stage}/")
    knobs: dict[str, Knob | Choice] = {}
    inputs: dict[str, Input] = {}
    for parameter in others:
        kind, note = annotation(hints.get(parameter.name), (Input, Knob, Choice))
        if isinstance(note, Input):
            _, help = annotation(hints[parameter.name], (Help,))
            inputs[parameter.name] = replace(note, help=help.text, label=help.label) if help else note
        elif note is not None and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"knob {parameter.name} has no default")
        elif isinstance(note, Choice):
            knobs[parameter.name] = replace(note, default=parameter.default)
            note.check(parameter.name, parameter.default)
        elif isinstance(note, Knob):
            knob = knobs[parameter.name] = replace(note, default=parameter.default, type=kind)
            knob.check(parameter.name, parameter.default)
        elif parameter.name not in RUN_ARGUMENTS:
            raise ValueError(f"parameter {parameter.name} is neither a knob nor an input, and comes from no run: that "
                             f"gives {', '.join(RUN_ARGUMENTS)}")  # fmt: skip
    for name, where in ((name, one.ignored_when) for name, one in knobs.items() if isinstance(one, Knob)):
        if where is not None and where[0] not in {*knobs, *inputs}:
            raise ValueError(f"knob {name} is ignored at a value of {where[0]!r}, and there is no such knob or input")
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
        "run_arguments": frozenset(p.name for p in others if p.name not in knobs and p.name not in inputs),
        **_docstring(function),
    }


def _docstring(function: Callable[..., Any]) -> dict[str, str]:
    blocks = (inspect.getdoc(function) or "").split("\n\n")
    title = blocks[0].strip()
    plain = [" ".join(block.split()) for block in blocks[1:] if not block.startswith("    ")]
    indented = [inspect.cleandoc("\n" + block) for block in blocks[1:] if block.startswith("    ")]
    if "\n" in title or not title or not plain or not indented:
        raise ValueError("its docstring needs a title of one line, a paragraph, and the equation as an indented block")
    differs = next((block.removeprefix(DIFFERS).strip() for block in plain if block.startswith(DIFFERS)), "")
    differs = differs[:1].upper() + differs[1:]
    return {"title": title.rstrip("."), "summary": plain[0], "equation": indented[0], "differs": differs}


def _all() -> str:
    return ", ".join(METHODS) or "none"
