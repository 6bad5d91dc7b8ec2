"""Settings that come back: from an image on the stage or in the history, from a file, from an example."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.forms.stack import Stack
from app.schema.method_inputs import hashes
from app.schema.recipe import Recipe
from app.schema.this_machine import Here, differences, here
from app.service.state import AppState
from app.tabs import image_view
from app.tabs.notes import failure, note
from app.tabs.solver_knobs import SolverKnobs
from common.lora_tags import TAG


class Restorer:
    """Updates of the controls, one for each of `fields`, and of the note below them."""

    state: AppState
    fields: tuple[str, ...]
    control: Mapping[str, Any]  # field -> its component
    knobs: SolverKnobs
    restored: gr.HTML

    def fill(self, recipe: Recipe, words: str, notes: Sequence[str] = (), visit_token: str = "") -> dict[Any, Any]:
        """The recipe in the controls, and below what was restored and what differs. door: of the visit."""
        notes = [*notes, *differences(recipe, self._here(recipe)), *self._missing(recipe, visit_token)]
        if recipe.loras or recipe.lora_hashes or re.search(TAG, recipe.prompt):
            from app.engine import loras  # which imports torch

            notes += loras.differences(recipe)
        listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
        what = f"{escape(words)} What differs:<ul>{listed}</ul>" if notes else f"{escape(words)} Nothing differs."
        values = {name: getattr(recipe, name) for name in self.fields if name not in self.knobs.controls}
        values["sampler_knobs"] = recipe.sampler_knobs
        values["methods"] = Stack.of(recipe).json()
        values |= {} if recipe.variation_strength else {"variation_seed": "-1"}  # which is not used
        values["backbone"] = self.state.same(recipe)
        if values["backbone"] is None:
            del values["backbone"]
        return self.put(values, what)

    def put(self, values: Mapping[str, Any], html: str) -> dict[Any, Any]:
        """These fields into the controls, with "sampler" its knobs from "sampler_knobs", the others as they are; and
        the note, in HTML."""
        values = dict(values)
        knobs = values.pop("sampler_knobs", {})
        controls = {self.control[name]: value for name, value in values.items()}
        if "sampler" in values:
            controls |= self.knobs.chosen(values["sampler"], knobs)
        return controls | {self.restored: note(html)}

    def _here(self, recipe: Recipe) -> Here:
        """This machine, as far as it is known: networks that are not loaded have no revision yet."""
        known = here(self.state.model(recipe.backbone).engine(0) if recipe.backbone in self.state.models else None)
        backbones = {id: known.backbones.get(id, "") for id in self.state.models}
        methods = known.methods or [use.name for use in recipe.methods]
        return Here(backbones, methods, known.versions)

    def _missing(self, recipe: Recipe, visit_token: str) -> list[str]:
        gone = [sha for sha in hashes(recipe.methods) if self.state.image(sha, visit_token) is None]
        said = [f"{len(gone)} of the images that its methods were given are not here: give them again."] if gone else []
        backbone = self.state.model(recipe.backbone).backbone if recipe.embeddings else None
        if backbone is None:
            return said
        from app.engine.text_reading import other_words  # imports torch, which is there with a backbone

        return [*said, *other_words(recipe, backbone)]

    def leave(self, words: str) -> dict[Any, Any]:
        """The controls as they are, and why."""
        return {self.restored: failure(escape(words))}

    def use(self, visit: list[image_view.Shown], request: gr.Request, data: gr.EventData) -> dict[Any, Any]:
        """Settings of an image on the stage, back into the controls."""
        wanted = str((data._data or {}).get("id", ""))
        shown = next((s for s in visit if s.id == wanted), None)
        if shown is None:
            return self.leave("This image is no longer in the strip. Find it in History.")
        words = f"The settings of seed {shown.recipe.seed} are in the controls."
        return self.fill(shown.recipe, words, visit_token=self.state.visit_token(request.session_hash))

    def restore_from(self, path: str | None, request: gr.Request) -> dict[Any, Any]:
        """A dropped or chosen image: its recipe into the controls."""
        from app.schema.png_metadata import read
        from app.storage.image_files import ImageError, open_upload

        if not path:
            return self.leave("No image was given.")
        name = Path(path).name
        try:
            upload = open_upload(path)
        except ImageError as error:
            return self.leave(f"{name}: {error}")
        finally:
            _forget(path)
        if not upload.parameters:
            return self.leave(
                f"{name} holds no settings. Give a png as Nine Ways, or another program that writes a `parameters` "
                "text, saved it."
            )
        reading = read(upload.parameters)
        if reading.recipe is None:
            return self.leave(" ".join([f"The settings in {name} could not be read.", *reading.notes]))
        words = f"The settings of {name} are in the controls."
        visit_token = self.state.visit_token(request.session_hash)
        return self.fill(reading.recipe, words, [*upload.notes, *reading.notes], visit_token)


def _forget(path: str) -> None:
    """Uploads are read once and not kept."""
    try:
        os.remove(path)
    except OSError:
        pass
