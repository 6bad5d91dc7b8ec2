"""Comparisons of one click: a rendered scene, what is known of it, and every method of the registry that does the task.

    made = READY["edit"].make()        Ready(comparison, images)

Imports torch when one is made, not before. Methods are found by their task, so a new one joins by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from app.comparison.spec import Axis, Change, Comparison
from app.comparison.task import Task
from app.forms.examples import AFTER, BEFORE, NAMES, example, ground_truth, shared_example
from app.schema.method_inputs import DegradationValue, Use
from app.schema.recipe import SAMPLERS, Recipe
from app.storage.image_files import content_hash

LATENT, PIXELS = ("still-life", 128), ("still-life-pixels", 64)  # backbones and their sizes
#: Methods that edit a run without an image are run under this inversion, which gives them one.
UNDER = "direct_inversion"
OTHER_NETWORKS = ("lcm",)  # solvers made for other networks; those that climb make more evaluations than steps
STOCHASTIC = ("edit_friendly_ddpm", "replacement", "repaint", "ilvr", "dps")  # their papers' sampler is ancestral
TWO = "a red cube and a blue sphere on grass by day"


@dataclass(frozen=True)
class PresetComparison:
    comparison: Comparison
    images: dict[str, Image.Image] = field(default_factory=dict)  # by content hash


Make = Callable[[], PresetComparison]


@dataclass(frozen=True)
class Ready:
    """`title` and `summary` for the page; `make` for the click."""

    key: str
    title: str
    summary: str
    make: Callable[[], PresetComparison] = field(repr=False)


READY: dict[str, Ready] = {}


def _ready(key: str, title: str, summary: str) -> Callable[[Make], Make]:
    def put(make: Callable[[], PresetComparison]) -> Callable[[], PresetComparison]:
        READY[key] = Ready(key, title, summary, make)
        return make

    return put


@_ready("edit", "Edit an image by text", "A red cube becomes yellow; all else should stay as it is.")
def edit() -> PresetComparison:
    from backbones.outline import outline
    from conditioning.registry import METHODS

    known = ground_truth(LATENT[1])
    source, images = _image(known.image)
    mask, found = _image(known.mask)
    images |= found
    columns = [_alone("the new prompt alone")]
    for method in METHODS.values():
        if method.task != "editing" or "edit" in method.inputs:  # whose edit is not what the prompt says
            continue
        if not set(method.needs) <= outline(LATENT[0]).offers:
            continue
        made = shared_example(method.name, LATENT[1])
        images |= made.images
        stack = [_used(made.card)]
        if not any(kind.kind == "image" for kind in method.inputs.values()):
            under, found = _card(UNDER, LATENT)
            images |= found
            stack = [under, *stack]
        guidance = {"cfg_scale": 1.0} if made.settings["cfg_scale"] == 1 else {}  # what the method cannot do with it
        columns.append(_column(method.title, stack, guidance))
    task = Task(prompt=AFTER, source=source, source_prompt=BEFORE, mask=mask)
    return _compared("edit", columns, images, Recipe(prompt=AFTER, backbone=LATENT[0], steps=30), task)


@_ready("inpaint", "Inpaint", "A hole where the cube was, to be filled as the prompt says.")
def inpaint() -> PresetComparison:
    columns, images = _of_task(("inpainting",), LATENT)
    (source, shown), (mask, painted) = (_image(getattr(ground_truth(LATENT[1]), name)) for name in ("image", "mask"))
    task = Task(prompt=BEFORE, source=source, mask=mask, ground_truth=source)
    columns = [_alone("the prompt alone"), *columns]
    return _compared("inpaint", columns, images | shown | painted, Recipe(prompt=BEFORE, steps=30), task)


@_ready("super-resolution", "Super-resolve", "Sixteen by sixteen pixels, made four times as fine.")
def super_resolution() -> PresetComparison:
    return _restored("super-resolution", "super_resolution", {"factor": 4})


@_ready("colourise", "Colourise", "Grey values, to be given colours that a scene might have.")
def colourise() -> PresetComparison:
    return _restored("colourise", "colourisation", {})


@_ready("depth", "Depth to image", "A map of depth, to be followed.")
def depth() -> PresetComparison:
    known = ground_truth(LATENT[1])
    near, shown = _image(known.near)
    truth, found = _image(known.image)
    control = Use(name="controlnet", inputs={"depth": near})
    energy = Use(name="energy_guidance", knobs={"energy": "depth map"}, inputs={"target": near})
    columns = [
        _alone("the prompt alone"),
        _column("ControlNet, depth", [control]),
        _column("Energy guidance, depth", [energy]),
        _column("both", [control, energy]),
    ]
    task = Task(prompt=BEFORE, depth=near, ground_truth=truth)
    return _compared("depth", columns, shown | found, Recipe(prompt=BEFORE), task)


@_ready("layout", "Layout by boxes", "Two boxes with words: is each filled by what it says?")
def layout() -> PresetComparison:
    columns, images = _of_task(("layout",), LATENT)
    base = Recipe(prompt=f"{NAMES[0]} and {NAMES[1]} on grass")
    known = ground_truth(LATENT[1])
    truth, found = _image(known.image)
    task = Task(prompt=base.prompt, boxes=known.boxes, ground_truth=truth)
    return _compared("layout", [_alone("the prompt alone"), *columns], images | found, base, task, seeds=3)


@_ready("two-objects", "Two objects", "A prompt of two solids: do both come out whole?")
def two_objects() -> PresetComparison:
    excite = Use(
        name="attend_and_excite", inputs={"words": "cube, sphere"}, knobs={"strength": 100.0, "start": 0.15}
    )  # early and strong enough to part solids that grow into each other
    both = Use(name="composable", inputs={"also": "a red cube to the left of a blue sphere on grass by day"})
    columns = [
        _alone("the prompt alone"),
        _column("Attend-and-excite", [excite]),
        _column("Composable", [both], {"cfg_scale": 2.0}),
        _column("Perturbed attention", [Use(name="perturbed_attention")]),
    ]
    return _compared("two-objects", columns, {}, Recipe(prompt=TWO), Task(prompt=TWO), seeds=4)


@_ready("panorama", "Panorama", "Three widths of the network, at once and window by window.")
def panorama() -> PresetComparison:
    made = example("panorama", LATENT[1])
    columns = [_alone("the network on the whole at once"), _column("MultiDiffusion, windows", [_used(made.card)])]
    base = Recipe(**made.settings)
    return _compared("panorama", columns, {}, base, Task(prompt=base.prompt), seeds=3)


@_ready(
    "samplers",
    "Samplers at 8 NFE",
    "Eight network evaluations each, on a flow-matching schedule: which solver does best?",
)
def samplers() -> PresetComparison:
    from samplers import SAMPLERS as solvers

    prompt = "a large red sphere to the left of a small blue cube on grass at sunset"
    columns = [
        Change(label=label, recipe={"sampler": key, "steps": max(1, 8 // solvers[key].nfe)})
        for key, label in SAMPLERS.items()
        if key in solvers and key not in OTHER_NETWORKS and not solvers[key].renoises
    ]
    base = Recipe(prompt=prompt, steps=8, schedule="flow_shift")
    return _compared("samplers", columns, {}, base, Task(prompt=prompt), seeds=4, axis="sampler")


# ---- parts ----------------------------------------------------------------------------------------------------------


def _restored(key: str, operator: str, parameters: dict[str, Any]) -> PresetComparison:
    """A restoration, in pixel space, where such methods are exact."""
    from conditioning.registry import METHODS

    image, images = _image(ground_truth(PIXELS[1]).image)
    given = DegradationValue(image=image, name=operator, parameters=parameters)
    columns = [
        _column(method.title, [Use(name=method.name, inputs={name: given})], _sampled(method.name))
        for method in METHODS.values() if method.task == "restoration"
        for name, kind in method.inputs.items() if kind.kind == "operator"
    ]  # fmt: skip
    base = Recipe(backbone=PIXELS[0], width=PIXELS[1], height=PIXELS[1], steps=50, cfg_scale=1.0)
    return _compared(key, columns, images, base, Task(observation=given, ground_truth=image))


def _of_task(tasks: Sequence[str], where: tuple[str, int]) -> tuple[list[Change], dict[str, Image.Image]]:
    """A column for every method of these tasks that runs there, with what its example gives it."""
    from backbones.outline import outline
    from conditioning.registry import METHODS

    columns: list[Change] = []
    images: dict[str, Image.Image] = {}
    for method in METHODS.values():
        if method.task in tasks and set(method.needs) <= outline(where[0]).offers:
            card, found = _card(method.name, where)
            images |= found
            columns.append(_column(method.title, [card], _sampled(method.name)))
    return columns, images


def _compared(
    key: str, columns: Sequence[Change], images: dict[str, Image.Image], base: Recipe, task: Task, seeds: int = 2,
    axis: str = "method",
) -> PresetComparison:  # fmt: skip
    """These columns by a few seeds, every one measured against the one task."""
    axes = (Axis(name=axis, values=tuple(columns)), _seeds(seeds))
    return PresetComparison(Comparison(title=READY[key].title, base=base, axes=axes, task=task), images)


def _alone(label: str) -> Change:
    return Change(label=label, methods=())


def _column(label: str, stack: Sequence[Use], recipe: dict[str, Any] | None = None) -> Change:
    return Change(label=label, methods=tuple(stack), recipe=recipe or {})


def _sampled(method: str) -> dict[str, Any]:
    return {"sampler": "ancestral"} if method in STOCHASTIC else {}


def _card(method: str, where: tuple[str, int]) -> tuple[Use, dict[str, Image.Image]]:
    made = shared_example(method, where[1])
    return _used(made.card), made.images


def _used(card: Any) -> Use:
    return Use(**card.model_dump(include=set(Use.model_fields)))


def _image(image: Image.Image) -> tuple[str, dict[str, Image.Image]]:
    sha = content_hash(image)
    return sha, {sha: image}


def _seeds(count: int) -> Axis:
    return Axis(name="seed", values=tuple(Change(label=f"seed {n}", recipe={"seed": n}) for n in range(count)))
