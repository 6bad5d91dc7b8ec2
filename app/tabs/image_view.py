"""What is shown of images, as HTML: the stage (empty, forming, made, in trouble), the strip of images.

Every word from outside is escaped here. Buttons carry `data-act`; the page's components listen to those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

from app import scripts
from app.engine.events import Finished, Preparing, shape_of_sheet
from app.forms import before_after, tiles
from app.forms.batches import number_of
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
    memory, which took no time. own: of the seconds, those that were its own, where other runs shared the machine."""

    seconds: float
    nfe: int | None = None
    remembered: int = 0
    images: int = 1
    own: float | None = None

    @classmethod
    def of(cls, event: Finished) -> Cost:
        """Of a run that has ended."""
        parts = (event.seconds, event.nfe, event.remembered, len(event.images))
        return cls(*parts, own=event.own_seconds if event.shared else None)

    def facts(self) -> list[str]:
        """In words, as HTML."""
        of_all, in_all = (f" of {_mono(self.images)} images", " in all") if self.images > 1 else ("", "")
        found = [f"{_time(self.seconds)} for the run{of_all}"]
        if self.own is not None:
            found[0] += " beside other runs"  # what was remembered counts among its own as if it were computed
            found[0] += f", {_time(self.own)} of them its own" if self.own < self.seconds else ""
        if self.nfe is not None:
            memory = f", {_mono(self.remembered)} of them from memory" if self.remembered else ""
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
    batch: str = ""  # the same for images that were made at once, which then stand side by side

    @property
    def file_name(self) -> str:
        return f"nine-ways-{number_of(self.recipe)}.png"


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
        "Clip skip": str(recipe.clip_skip) if recipe.clip_skip > 1 else "",
        "Analytical first step": "on" if recipe.afs else "",
        "Stop at sigma": f"{recipe.stop_sigma:g}" if recipe.stop_sigma else "",
        "Seed": str(recipe.seed),
        "Variation seed": str(recipe.variation_seed) if recipe.variation_strength else "",
        "Variation strength": f"{recipe.variation_strength:g}" if recipe.variation_strength else "",
        "Size": f"{recipe.width} × {recipe.height} pixels",
        "Model": f"{recipe.backbone} {recipe.revision[:12]}".strip(),
        "Methods": titles(recipe),
        "LoRA files": ", ".join(f"{name} {digest[:12]}" for name, digest in recipe.loras.items()),
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


def _sheet(sources: Sequence[str], word: str, size: tuple[int, int], recipes: Sequence[Recipe], batch: str = "") -> str:
    """Images of this size side by side on a mat, with more behind them. One of several is a button, under its seed:
    its script shows it alone. recipes: of each; batch: of images that are made."""
    count = max(len(sources), 1)
    columns, rows = shape_of_sheet(count, *size)

    def cell(i: int, source: str) -> str:
        image = f'<img alt="Image {i + 1}, {word}" src="{escape(source)}">' if source else "<span></span>"
        if count == 1:
            return image
        counted = _counted(recipes[i])
        return (
            f'<button type="button" class="nw-pick" data-of="{escape(f"{batch}.{i}")}" '
            f'title="{escape(counted)}: show it alone">{image}<span class="nw-corner">{escape(counted)}</span></button>'
        )

    cells = "".join(cell(i, source) for i, source in enumerate(sources))
    return f'<div class="nw-sheet" style="--columns:{columns};--rows:{rows};--aspect:{size[0]}/{size[1]}">{cells}</div>'


def _sheet_size(count: int, size: tuple[int, int]) -> tuple[int, int]:
    columns, rows = shape_of_sheet(max(count, 1), *size)
    return columns * size[0], rows * size[1]


def _counted(recipe: Recipe) -> str:
    """What tells an image from the others of its batch."""
    return f"Variation {recipe.variation_seed}" if recipe.variation_strength else f"Seed {recipe.seed}"


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
    previews: Sequence[str], step: int, steps: int, left: float | None, recipes: Sequence[Recipe], made: int = 0
) -> str:
    """A run under way: the images as the network sees them now, the bar, step k of n and the time left. recipes: of
    each image."""
    size = (recipes[0].width, recipes[0].height)
    words = f"<span>Step {_mono(step)} of {_mono(steps)}</span>"
    if made:
        words += f" <span>{_mono(made)} of {_mono(len(previews))} images made</span>"
    if left is not None:
        words += f" <span>{_time(left)} left</span>"
    sheet = _sheet(previews, "forming", size, recipes) + _bar(step, steps)
    return _stage("running", _mat(sheet, _sheet_size(len(previews), size)) + _label(words, live="off"))


def made(shown: Shown, favourite: bool | None = None) -> str:
    """A finished image with what one can do with it. favourite: whether an image of the history is one; None: it is
    shown outside of the history, where it can neither be made one nor deleted."""
    recipe, source, name = shown.recipe, escape(shown.source), escape(shown.id)
    alt = escape(recipe.prompt or "An image without a prompt")
    image = f'<img alt="{alt}" src="{source}" width="{recipe.width}" height="{recipe.height}" draggable="true">'
    button = '<button type="button" class="nw-image" aria-pressed="false" title="Toggle 1:1 pixels">'
    image = f"{button}{image}</button>"
    facts = [f"Seed {_mono(recipe.seed)}"]
    if recipe.variation_strength:
        facts.append(f"Variation {_mono(recipe.variation_seed)} at {_mono(f'{recipe.variation_strength:g}')}")
    facts += [f"{_mono(f'{recipe.width}×{recipe.height}')} pixels"]
    # What a batch cost in all stands below the batch: an image of it has no cost of its own.
    facts += shown.cost.facts() if shown.cost is not None and shown.cost.images == 1 else []
    facts += [f'<span class="nw-warn">{escape(shown.note)}</span>'] if shown.note else []
    words = " ".join(f"<span>{fact}</span>" for fact in facts)
    title = f'<p class="nw-title">{escape(recipe.prompt)}</p>' if recipe.prompt else ""
    back = f'<button type="button" class="nw-act" data-back="{escape(shown.batch)}">All images of the batch</button>'
    acts = (back if shown.batch else "") + (
        f'<a class="nw-act" href="{source}" download="{escape(shown.file_name)}">Download PNG</a>{_compare(shown)}'
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


def _compare(shown: Shown) -> str:
    """A button for each image that a kept one was made from: its script draws the slider (assets/before_after.js)."""
    stem = shown.source.removesuffix(".png")
    return "".join(
        f'<button type="button" class="nw-act" data-before="{escape(f"{stem}/before/{one.key}.png")}" '
        f'data-words="{escape(one.words)}" aria-pressed="false">Compare with the {escape(one.words)}</button>'
        for one in (before_after.offered(shown.recipe) if shown.id else ())
    )


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


def batch(images: Sequence[Shown]) -> str:
    """Several images that were made at once, side by side; each can be shown alone, all of them taken along."""
    first, size = images[0], (images[0].recipe.width, images[0].recipe.height)
    sheet = _sheet([one.source for one in images], "made", size, [one.recipe for one in images], first.batch)
    (word, low), high = _counted(first.recipe).split(), _counted(images[-1].recipe).split()[1]
    facts = [f"{_mono(len(images))} images", f"{word} {_mono(low)} to {_mono(high)}"]
    facts += [f"of seed {_mono(first.recipe.seed)}"] if first.recipe.variation_strength else []
    facts += [f"{_mono(f'{size[0]}×{size[1]}')} pixels each", *(first.cost.facts() if first.cost is not None else [])]
    facts += [f'<span class="nw-warn">{escape(note)}</span>' for note in {one.note for one in images if one.note}]
    words = " ".join(f"<span>{fact}</span>" for fact in facts)
    title = f'<p class="nw-title">{escape(first.recipe.prompt)}</p>' if first.recipe.prompt else ""
    files = (("pictures.png", "Download grid PNG", f"nine-ways-{first.recipe.seed}-grid.png"),
             ("pictures.zip", "Download zip", f"nine-ways-{first.recipe.seed}.zip"))  # fmt: skip
    acts = "".join(
        f'<button type="button" class="nw-act" data-save="{path}" data-name="{name}">{label}</button>'
        for path, label, name in files
    )
    acts = f'<div class="nw-acts">{acts}</div>' if all(one.id for one in images) else ""  # else the server has not all
    label = f'<div class="nw-label" data-seed="{first.recipe.seed}">{title}'
    label += f'<p class="nw-status" aria-live="polite">{words}</p>{acts}</div>'
    return _stage("done", _mat(sheet, _sheet_size(len(images), size)) + label, "Batch")


def stopped(words: str, size: tuple[int, int], last: Sequence[str] = (), recipes: Sequence[Recipe] = ()) -> str:
    """A cancelled run: what had formed stays in view. recipes: of each image."""
    sheet = _sheet(last, "unfinished", size, recipes)
    return _stage("stopped", _mat(sheet, _sheet_size(len(last), size)) + _label(escape(words)))


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


def in_strip(images: Sequence[Shown], most: int) -> Sequence[Shown]:
    """The first of some images, at most so many, but batches whole."""
    while 0 < most < len(images) and images[most].batch and images[most].batch == images[most - 1].batch:
        most += 1
    return images[:most]


def film(images: Sequence[Shown], stage: str, selected: int = 0) -> str:
    """The images of this visit, before those of a batch all of them at once; the page's own script shows the chosen one
    on the stage called `stage`. selected: its place."""
    if len(images) < 2:
        return ""

    def thumb(html: str, inside: str, label: str, names: str) -> str:
        data = escape(json.dumps({"html": html}))
        chosen = len(thumbs) == selected
        return (
            f'<button type="button" class="nw-thumb" role="option" aria-selected="{str(chosen).lower()}" '
            f'tabindex="{0 if chosen else -1}" aria-label="{escape(label)}" {names} data-image="{data}">'
            f"{inside}</button>"
        )

    thumbs: list[str] = []
    for name, group in groupby(images, key=lambda shown: shown.batch):
        together = list(group)
        if name and len(together) > 1:
            few = "".join(f'<img alt="" src="{escape(one.source)}">' for one in together[:4])
            inside = f'<span class="nw-thumb-batch">{few}</span>'
            label = f"All {len(together)} images: {together[0].recipe.prompt}"
            thumbs.append(thumb(batch(together), inside, label, f'data-batch="{escape(name)}"'))
        for i, one in enumerate(together):
            label = f"{_counted(one.recipe)}: {one.recipe.prompt}"
            inside = f'<img alt="" src="{escape(one.source)}">'
            thumbs.append(thumb(made(one), inside, label, f'data-of="{escape(f"{name}.{i}")}"' if name else ""))
    label = "Images of this visit; arrow keys walk through them"
    return (
        f'<div class="nw-film" role="listbox" aria-orientation="horizontal" aria-label="{label}" '
        f'data-stage="{stage}">{"".join(thumbs)}</div>'
    )
