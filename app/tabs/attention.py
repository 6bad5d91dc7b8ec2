"""Attention maps of an image: every word of its prompt at every step, opened on demand by making the run again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from app import scripts
from app.engine.events import Cancelled, Failed, Finished, Preparing, Progress
from app.errors import error_message
from app.schema.method_inputs import hashes
from app.schema.recipe import Recipe
from app.service.state import AppState, waiting
from app.tabs import image_view
from app.tabs.listeners import SHORT
from app.tabs.notes import failure
from common.image_bytes import data_uri

Find = Callable[[str, list[image_view.Shown]], image_view.Shown | None]
SHOW = scripts.mount("attention_maps", events=["close"])


class Attention:
    """A panel, empty until it is asked for. find: an image by the id that the page names, and what the visit made;
    None where it is gone, or another's."""

    def __init__(self, state: AppState, find: Find, elem_id: str = "attention"):
        self.state, self.find = state, find
        self.panel = gr.HTML(
            "", elem_id=elem_id, elem_classes="nw-attention", js_on_load=SHOW, apply_default_css=False
        )  # fmt: skip
        self.panel.close(self.close, None, self.panel, **SHORT)

    def show(self, visit: list[image_view.Shown], request: gr.Request, data: gr.EventData) -> Iterator[str]:
        """The maps of an image: the run once more, and a look after every step."""
        shown = self.find(str((data._data or {}).get("id", "")), visit)
        if shown is None:
            yield note("This image is gone. Generate it again to see its maps.")
            return
        recipe, session = shown.recipe, f"{request.session_hash} attention"
        model = self.state.model(recipe.backbone)
        run: Any = None
        try:
            from app.engine.attention_recorder import AttentionRecorder

            yield busy("Starting")
            for words in waiting(model):
                yield busy(f"{model.name}: {words}")
            engine = model.engine(0)
            if engine is None:
                yield note(model.trouble)
                return
            visit_token = self.state.visit_token(request.session_hash)
            needed = {sha: self.state.image(sha, visit_token) for sha in hashes(recipe.methods)}
            given = {sha: image for sha, image in needed.items() if image is not None}
            look = AttentionRecorder()
            run = engine.submit(recipe, given, look)
            if (before := self.state.live.get(session)) is not None:
                before.cancel()
            self.state.live[session] = run
            for event in run:
                match event:
                    case Preparing(words=words, step=step, steps=steps):
                        yield busy(words, step / max(steps, 1))
                    case Progress(step=step, steps=steps):
                        yield busy(f"Step {step} of {steps}, made again to look at", step / max(steps, 1))
                    case Failed(reason=reason):
                        yield note(reason)
                    case Cancelled():
                        yield ""
                    case Finished():
                        yield view(AttentionSheet(look.words, look.steps, look.sheet()), shown)
        except Exception as error:
            yield note(error_message(error))
        finally:
            if run is not None:
                run.cancel()
                if self.state.live.get(session) is run:
                    self.state.live.pop(session)

    def close(self, request: gr.Request) -> str:
        """Ends the run, where one is under way, and empties the panel."""
        run = self.state.live.get(f"{request.session_hash} attention")
        if run is not None:
            run.cancel()
        return ""


def in_visit(wanted: str, visit: list[image_view.Shown]) -> image_view.Shown | None:
    """The image of this id among those that a visit made."""
    return next((shown for shown in visit if shown.id == wanted), None)


def has_attention(state: AppState, recipe: Recipe) -> bool:
    """Whether attention maps of such an image can be shown, as far as that is known before its network is loaded."""
    model = state.models.get(recipe.backbone)
    if model is None:
        return False
    backbone = model.backbone
    return model.may({"attention.cross"}) and (backbone is None or hasattr(backbone, "words"))


@dataclass(frozen=True)
class AttentionSheet:
    """words and levels of noise; sheet: all maps, a row a word and a column a step, (W h, S w) uint8."""

    words: list[str]
    steps: list[float]
    sheet: np.ndarray


def busy(words: str, part: float | None = None) -> str:
    """While the run is made again."""
    inside = "<span></span>" if part is None else f'<span style="width:{100 * part:.1f}%"></span>'
    bar = f'<div class="nw-bar"{" data-open" if part is None else ""}>{inside}</div>'
    return _panel(f'<div class="nw-maps-busy">{bar}</div><p class="nw-status">{escape(words)}</p>')


def note(words: str) -> str:
    return _panel(failure(escape(words)))


def _panel(inside: str) -> str:
    return (
        '<section class="nw-maps" aria-label="Attention maps"><div class="nw-maps-head"><h2>Attention</h2>'
        f'<button type="button" class="nw-act" data-close>Close</button></div>{inside}</section>'
    )


def view(maps: AttentionSheet, shown: image_view.Shown) -> str:
    """The image with a word's map over it, a slider over the steps, and the grid of all maps."""
    rows, columns = len(maps.words), len(maps.steps)
    if not rows or not columns:
        return note("The prompt has no words to look at.")
    height, width = maps.sheet.shape[0] // rows, maps.sheet.shape[1] // columns
    chosen = first(maps)
    words = "".join(
        f'<button type="button" class="nw-word" data-word="{i}" aria-pressed="{str(i == chosen).lower()}">'
        f"{escape(word)}</button>"
        for i, word in enumerate(maps.words)
    )
    levels = escape(json.dumps([round(level, 3) for level in maps.steps]))
    recipe: Recipe = shown.recipe
    image = (
        f'<div class="nw-overlay" style="aspect-ratio:{recipe.width}/{recipe.height}">'
        f'<img src="{escape(shown.source)}" alt="{escape(recipe.prompt)}">'
        f'<canvas width="{8 * width}" height="{8 * height}" role="img" aria-label="Where the network looks"></canvas>'
        "</div>"
    )
    slider = (
        f'<label class="nw-steps">Step <output class="nw-mono"></output>'
        f'<input type="range" min="0" max="{columns - 1}" value="{columns - 1}" aria-label="Step"></label>'
    )
    shape = f"--rows:{rows};--columns:{columns};--ratio:{width / height:.3f}"
    alt = f"{rows} words by {columns} steps: bright where the network looks"
    sheet = (
        f'<div class="nw-grid-maps" style="{shape}"><div class="nw-words-column">{words}</div>'
        f'<div class="nw-sheet-maps"><img class="nw-all" src="{data_uri(maps.sheet)}" alt="{alt}">'
        '<span class="nw-cursor"></span></div></div>'
    )
    how = "A row is a word, a column a step; bright is where the image takes from the word; each has its own scale."
    return _panel(
        f'<div class="nw-maps-body" data-rows="{rows}" data-columns="{columns}" data-levels="{levels}">'
        f'<div>{image}{slider}</div><div>{sheet}<p class="nw-quiet">{how}</p></div></div>'
    )


def first(maps: AttentionSheet) -> int:
    """The word to begin with: the one whose map at the last step stands out most."""
    rows, columns = len(maps.words), len(maps.steps)
    height, width = maps.sheet.shape[0] // rows, maps.sheet.shape[1] // columns
    last = maps.sheet[:, -width:].reshape(rows, height * width).astype(float)
    return int(np.argmax(last.max(1) - last.mean(1)))
