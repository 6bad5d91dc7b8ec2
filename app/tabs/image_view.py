"""What is shown of images, as HTML: the stage (empty, forming, made, in trouble), the strip of images.

Every word from outside is escaped here. Buttons carry `data-act`; the page's components listen to those.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from app import scripts
from app.engine.events import Preparing
from app.forms import tiles
from app.forms.stack import titles
from app.schema.method_inputs import BoxValue
from app.schema.recipe import SAMPLERS, Recipe, schedule_label
from app.schema.solvers import knob_label, knob_value
from app.storage.image_history import Entry
from common.text import one_line

#: js_on_load of every stage: a button with data-act="x" triggers the event x with its data.
ACTS = scripts.mount(
    "server_buttons", "mountStage", ["use", "example", "attempt", "open", "remove", "favourite", "attention", "follow"]
)


@dataclass(frozen=True)
class Given:
    """What a method was given: an image (its address, None where it is not here any more), or boxes."""

    label: str
    source: str | None
    boxes: tuple[BoxValue, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Of a run, with all its images. remembered: of the network evaluations (nfe), those that were answered from
    memory, which took no time."""

    seconds: float
    nfe: int | None = None
    remembered: int = 0
    images: int = 1

    def facts(self) -> list[str]:
        """In words, as HTML."""
        of_all = f" of {_mono(self.images)} images" if self.images > 1 else ""
        found = [f"{_time(self.seconds)} for the run{of_all}"]
        if self.nfe is not None:
            memory = f", {_mono(self.remembered)} of them from memory" if self.remembered else ""
            in_all = " in all" if self.images > 1 else ""
            found.append(f"{_mono(self.nfe)} network evaluation{'s' if self.nfe != 1 else ''}{in_all}{memory}")
        return found


@dataclass(frozen=True)
class Shown:
    """A made image as the page shows it."""

    id: str
    source: str  # an address on this server, or a data URI where the history could not keep the file
    recipe: Recipe
    parameters: str
    cost: Cost | None = None
    note: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    attentive: bool = False  # whether maps of attention can be had of it
    given: tuple[Given, ...] = ()

    @property
    def file_name(self) -> str:
        return f"nine-ways-{self.recipe.seed}.png"


def cost_of(entry: Entry) -> Cost | None:
    """What is known of the cost of a kept image."""
    return Cost(entry.seconds) if entry.seconds is not None else None


def settings(recipe: Recipe) -> dict[str, str]:
    """A recipe in the words of the page."""
    rows = {
        "Prompt": recipe.prompt or "none",
        "Negative prompt": recipe.negative,
        "Sampling method": "" if "sampler" in recipe.unused else SAMPLERS.get(recipe.sampler, recipe.sampler),
        "Schedule type": schedule_label(recipe.schedule, recipe.steps),
        "Sampling steps": str(recipe.steps),
        "CFG Scale": f"{recipe.cfg_scale:g}",
        "CFG rescale": f"{recipe.cfg_rescale:g}" if recipe.cfg_rescale else "",
        "Guidance": f"{recipe.cfg_start:g} to {recipe.cfg_end:g} of the steps"
        if (recipe.cfg_start, recipe.cfg_end) != (0, 1)
        else "",
        **{knob_label(name): knob_value(value) for name, value in recipe.knobs_set.items()},
        "Analytical first step": "on" if recipe.afs else "",
        "Stop at sigma": f"{recipe.stop_sigma:g}" if recipe.stop_sigma else "",
        "Seed": str(recipe.seed),
        "Size": f"{recipe.width} × {recipe.height} pixels",
        "Model": f"{recipe.backbone} {recipe.revision[:12]}".strip(),
        "Methods": titles(recipe),
    }
    return {name: value for name, value in rows.items() if value}


def duration(seconds: float) -> str:
    """0.84 -> '0.8 s', 72 -> '1 min 12 s'"""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _mono(value: Any) -> str:
    return f'<span class="nw-mono">{escape(str(value))}</span>'


def _time(seconds: float) -> str:
    return re.sub(r"[\d.]+", lambda number: _mono(number[0]), duration(seconds))


# the stage --------------------------------------------------------------------------------------------------------


def _stage(state: str, inside: str, label: str = "Image") -> str:
    return f'<section class="nw-stage" data-state="{state}" aria-label="{label}">{inside}</section>'


def _mat(inside: str, size: tuple[int, int] = (1, 1)) -> str:
    return f'<div class="nw-mat" style="--w:{size[0]};--h:{size[1]}">{inside}</div>'


def _label(status: str, more: str = "", live: str = "polite") -> str:
    """The label beside the image, as on a museum's wall."""
    return f'<div class="nw-label"><p class="nw-status" aria-live="{live}">{status}</p>{more}</div>'


def _sheet(previews: Sequence[str], word: str) -> str:
    columns = math.ceil(math.sqrt(max(len(previews), 1)))
    rows = math.ceil(max(len(previews), 1) / columns)
    cells = "".join(
        f'<img alt="Image {i + 1}, {word}" src="{source}">' if source else "<span></span>"
        for i, source in enumerate(previews)
    )
    return f'<div class="nw-sheet" style="--columns:{columns};--rows:{rows}">{cells}</div>'


def empty() -> str:
    """Nothing yet: what can be done here, each task a click away."""
    words = "<h2>What do you want to do?</h2><p>Click one and it runs: what is given beside what comes of it.</p>"
    return _stage("empty", f'<div class="nw-first">{words}{tiles.board()}</div>', "Examples")


def waiting(words: str, size: tuple[int, int]) -> str:
    """Before the first step: queued, or the network still loads."""
    bar = '<div class="nw-bar" data-open role="progressbar" aria-label="Progress"><span></span></div>'
    return _stage("running", _mat(bar, size) + _label(escape(words)))


def preparing(event: Preparing, size: tuple[int, int]) -> str:
    """Something is found on the network first: what, how far, how long still."""
    words = f"<span>{escape(event.words)}</span> <span>{_mono(event.step)} of {_mono(event.steps)}</span>"
    if event.seconds_left is not None:
        words += f" <span>{_time(event.seconds_left)} left</span>"
    return _stage("running", _mat(_bar(event.step, event.steps), size) + _label(words, live="off"))


def _bar(step: int, steps: int) -> str:
    return (
        f'<div class="nw-bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="{steps}" '
        f'aria-valuenow="{step}"><span style="width:{100 * step / max(steps, 1):.1f}%"></span></div>'
    )


def forming(
    previews: Sequence[str], step: int, steps: int, left: float | None, size: tuple[int, int], made: int = 0
) -> str:
    """A run under way: the images as the network sees them now, the bar, step k of n and the time left."""
    words = f"<span>Step {_mono(step)} of {_mono(steps)}</span>"
    if made:
        words += f" <span>{_mono(made)} of {_mono(len(previews))} images made</span>"
    if left is not None:
        words += f" <span>{_time(left)} left</span>"
    return _stage("running", _mat(_sheet(previews, "forming") + _bar(step, steps), size) + _label(words, live="off"))


def made(shown: Shown, favourite: bool | None = None) -> str:
    """A finished image with what one can do with it. favourite: whether an image of the history is one; None: it is
    shown outside of the history, where it can neither be made one nor deleted."""
    recipe, source, name = shown.recipe, escape(shown.source), escape(shown.id)
    alt = escape(recipe.prompt or "An image without a prompt")
    image = f'<img alt="{alt}" src="{source}" width="{recipe.width}" height="{recipe.height}" draggable="true">'
    button = '<button type="button" class="nw-image" aria-pressed="false" title="Toggle 1:1 pixels">'
    image = f"{button}{image}</button>"
    facts = [f"Seed {_mono(recipe.seed)}", f"{_mono(f'{recipe.width}×{recipe.height}')} pixels"]
    facts += shown.cost.facts() if shown.cost is not None else []
    facts += [f'<span class="nw-warn">{escape(shown.note)}</span>'] if shown.note else []
    words = " ".join(f"<span>{fact}</span>" for fact in facts)
    title = f'<p class="nw-title">{escape(recipe.prompt)}</p>' if recipe.prompt else ""
    acts = (
        f'<a class="nw-act" href="{source}" download="{escape(shown.file_name)}">Download PNG</a>'
        f'<button type="button" class="nw-act" data-act="use" data-id="{name}">Send to Create</button>'
    )
    if shown.attentive:
        acts += f'<button type="button" class="nw-act" data-act="attention" data-id="{name}">Attention maps</button>'
    acts += f'<button type="button" class="nw-act" data-act="follow" data-id="{name}">Open in Trajectory</button>'
    if favourite is not None:
        pressed, on = str(favourite).lower(), "" if favourite else "on"
        acts += (
            f'<button type="button" class="nw-act" data-act="favourite" data-id="{name}" data-on="{on}" '
            f'aria-pressed="{pressed}">Favourite</button>'
            f'<button type="button" class="nw-act" data-act="remove" data-id="{name}">Delete</button>'
        )
    known = settings(recipe) | dict(shown.rows)
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in known.items())
    details = (
        f'<details class="nw-settings"><summary>Settings of this image</summary><dl>{rows}</dl>'
        f'<pre tabindex="0" role="region" aria-label="Settings as text">{escape(shown.parameters)}</pre>'
        '<button type="button" class="nw-act" data-copy>Copy as text</button></details>'
    )
    label = f'<div class="nw-label" data-seed="{recipe.seed}">{title}'
    label += f'<p class="nw-status" aria-live="polite">{words}</p>'
    label += f'<div class="nw-acts">{acts}</div>{_given(shown)}{details}</div>'
    return _stage("done", _mat(image, (recipe.width, recipe.height)) + label)


def _given(shown: Shown) -> str:
    """Sources, masks, maps and boxes, each at the shape of the result."""
    shape = f"--w:{shown.recipe.width};--h:{shown.recipe.height}"
    figures = "".join(
        f'<figure style="{shape}">{_look(one)}<figcaption>{escape(one.label)}</figcaption></figure>'
        for one in shown.given
    )
    if not figures:
        return ""
    return f'<div class="nw-made-from" role="group" aria-label="What it was made from">{figures}</div>'


def _look(one: Given) -> str:
    if one.boxes:
        frames = "".join(
            f'<i style="left:{100 * box.left:.2f}%;top:{100 * box.top:.2f}%;width:{100 * (box.right - box.left):.2f}%;'
            f'height:{100 * (box.bottom - box.top):.2f}%">{escape(box.text)}</i>'
            for box in one.boxes
        )
        return f'<div class="nw-made-from-boxes">{frames}</div>'
    if one.source is None:
        return '<div class="nw-made-from-boxes"><span class="nw-quiet">It is not here any more.</span></div>'
    source = escape(one.source)
    return f'<a href="{source}" target="_blank"><img src="{source}" alt="{escape(one.label)}" loading="lazy"></a>'


def stopped(words: str, size: tuple[int, int], last: Sequence[str] = ()) -> str:
    """A cancelled run: what had formed stays in view."""
    return _stage("stopped", _mat(_sheet(last, "unfinished"), size) + _label(escape(words)))


def trouble(reason: str, size: tuple[int, int]) -> str:
    """A run that failed: what happened and what to do."""
    words = f'<p class="nw-trouble" role="alert"><b>No image this time</b>{escape(reason)}</p>'
    return _stage("failed", _mat(words, size) + _label(""))


def queue(waiting: Sequence[tuple[str, Recipe]]) -> str:
    """The runs that wait for the one on the stage: (id, recipe) of each."""
    if not waiting:
        return ""
    rows = "".join(
        f"<li><span>{escape(one_line(recipe.prompt) or 'no prompt')}</span> "
        f'<span class="nw-mono">{recipe.count} × {recipe.steps} steps</span>'
        f'<button type="button" class="nw-quiet-button" data-act="take_out" data-id="{escape(id)}" '
        f'aria-label="Take “{escape(one_line(recipe.prompt))}” out of the queue">Remove</button></li>'
        for id, recipe in waiting
    )
    return f'<section class="nw-queue" aria-label="Queue"><h3>Next</h3><ol>{rows}</ol></section>'


# the strip --------------------------------------------------------------------------------------------------------


def film(images: Sequence[Shown], stage: str, selected: int = 0) -> str:
    """The images of this visit; the page's own script shows the chosen one on the stage called `stage`."""
    if len(images) < 2:
        return ""

    def thumb(i: int, shown: Shown) -> str:
        data = escape(json.dumps({"html": made(shown)}))
        chosen = i == selected
        return (
            f'<button type="button" class="nw-thumb" role="option" aria-selected="{str(chosen).lower()}" '
            f'tabindex="{0 if chosen else -1}" data-image="{data}">'
            f'<img alt="Seed {shown.recipe.seed}: {escape(shown.recipe.prompt)}" src="{escape(shown.source)}"></button>'
        )

    thumbs = "".join(thumb(i, shown) for i, shown in enumerate(images))
    label = "Images of this visit; arrow keys walk through them"
    return (
        f'<div class="nw-film" role="listbox" aria-orientation="horizontal" aria-label="{label}" '
        f'data-stage="{stage}">{thumbs}</div>'
    )
