"""What the page's scripts are sent of methods, tasks and operators, as types: GET catalogue.json."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict


class Message(TypedDict):
    """Nothing is sent that is not named here."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]


class Family(Message):
    key: str
    name: str
    stage: str
    group: str
    glyph: str  # SVG
    summary: str
    methods: list[str]


class ChoiceKnob(Message):
    name: str
    label: str
    help: str
    type: Literal["choice"]
    default: str
    options: list[str]


class SwitchKnob(Message):
    name: str
    label: str
    help: str
    type: Literal["bool"]
    default: bool
    low: float
    high: float
    step: float
    curve: bool
    neutral: Any


class NumberKnob(Message):
    name: str
    label: str
    help: str
    type: Literal["int", "float"]
    default: float | str  # a curve over the steps as text
    low: float
    high: float
    step: float
    curve: NotRequired[bool]
    neutral: NotRequired[Any]


class Input(Message):
    name: str
    label: str
    kind: Literal[
        "image", "map", "mask", "prompt", "words", "network", "boxes", "points", "references", "operator", "loras",
    ]
    optional: bool
    wanted_by: dict[str, list[str]]  # a choice of the method -> options that cannot do without this input
    ask: str
    help: str
    of: str  # of a network: which of the model's it is one of, by what methods need; else ""


class Method(Message):
    name: str
    title: str
    family: str
    kind: str
    task: str
    order: tuple[int, int]
    summary: str
    equation: str
    paper: str
    link: str
    needs: list[str]
    need_keys: list[str]
    cost: str
    differs: str  # what the authors do otherwise; "" where nothing is known
    search: list[str]  # what people look for who want it, the aptest first
    fixed: bool
    knobs: list[ChoiceKnob | SwitchKnob | NumberKnob]
    inputs: list[Input]


class MaskParameter(Message):
    name: str
    label: str
    type: Literal["mask"]


class Operator(Message):
    name: str
    title: str
    parameters: list[MaskParameter | NumberKnob]


class Task(Message):
    """What one can do, in a user's words."""

    key: str
    title: str
    summary: str
    methods: list[str]  # the aptest first


class ImageUse(Message):
    """What an image that is dropped or pasted can be used for: an input of a method, with these knobs."""

    title: str
    summary: str
    method: str
    input: str
    knobs: dict[str, str]
    needs: list[str]  # of what the network offers


class Signpost(Message):
    """Words that are searched for where no method does it, and the nearest that there is."""

    words: list[str]
    says: str
    methods: list[str]


class Catalogue(Message):
    """GET catalogue.json"""

    families: list[Family]
    methods: dict[str, Method]
    operators: list[Operator]
    tasks: list[Task]
    image_uses: list[ImageUse]  # the likeliest first
    tiles: str  # HTML of all tasks, each a button with data-task
    signposts: list[Signpost]
