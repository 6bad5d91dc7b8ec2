"""The one task that all columns of a comparison do, by what they are given for it. Plain JSON, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.schema.method_inputs import PLAIN_EDGE, BoxValue, DegradationValue, MaskEdge
from app.schema.recipe import Recipe
from common.fitting import Fit

#: By the kind of a task, the measures that say how well it was done: the first ranks the columns.
MEASURES = {
    "restoration": ("psnr", "measurement", "perceptual"),
    "inpainting": ("done_and_kept", "inside", "background", "kept"),
    "editing": ("done_and_kept", "done", "background", "kept"),
    "depth": ("near",),
    "edges": ("edges",),
    "layout": ("boxes",),
    "reference": ("identity",),
    "": (),
}
#: What a column is given that does the task, in words.
CONDITIONS = {
    "restoration": "the degraded image", "inpainting": "the image and its mask", "editing": "the image to edit",
    "depth": "the depth map", "edges": "the edge map", "layout": "the boxes", "reference": "the reference images",
    "": "",
}  # fmt: skip


class Task(BaseModel):
    """What every column is asked for. Images by their content hash; "" where there is none.

    prompt: what the image should show; "": what each cell's own prompt says. source: the image that is edited or
    filled, source_prompt: what it shows, mask: where it may change. depth, edges: maps to be followed; edges_by: the
    annotator that makes the map of edges of an image. boxes: each with its words. observation: what was done to the
    image that is to be restored. references: images of the subject. ground_truth: the image that should come out.
    fit: how all these images are fitted to the size; mask_edge: of the mask.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    prompt: str = ""
    source: str = ""
    source_prompt: str = ""
    mask: str = ""
    depth: str = ""
    edges: str = ""
    edges_by: str = "as it is"
    boxes: tuple[BoxValue, ...] = ()
    observation: DegradationValue | None = None
    references: tuple[str, ...] = ()
    ground_truth: str = ""
    fit: Fit = "crop"
    mask_edge: MaskEdge = PLAIN_EDGE

    @property
    def kind(self) -> str:
        """A key of MEASURES; "" where there is nothing but a prompt."""
        if self.observation is not None:
            return "restoration"
        if self.source:
            return "inpainting" if self.mask and not self.source_prompt else "editing"
        kinds = {"depth": self.depth, "edges": self.edges, "layout": self.boxes, "reference": self.references}
        return next((kind for kind, condition in kinds.items() if condition), "")

    def hashes(self) -> list[str]:
        """Of all its images."""
        found = [self.source, self.mask, self.depth, self.edges, *self.references, self.ground_truth]
        if self.observation is not None:
            mask = self.observation.parameters.get("mask")
            found += [self.observation.image, *([mask] if isinstance(mask, str) else [])]
        return [one for one in found if one]

    def swapped(self, swap: Mapping[str, str], boxes: tuple[BoxValue, ...]) -> Task:
        """With other images and words: those that an axis brings."""
        if not swap and not boxes:
            return self
        fields = with_others(self.model_dump(), swap)
        return Task(**fields | ({"boxes": boxes} if boxes and self.boxes else {}))

    def is_done_by(self, recipe: Recipe) -> bool:
        """Whether a run is given what the task is about: without it, its image is one of the prompt alone."""
        if not self.kind:
            return True
        observed = [self.observation.image] if self.observation is not None else []
        asked = {one for one in (self.source, self.depth, self.edges, *self.references, *observed) if one}
        given = {sha for use in recipe.methods for sha in use.hashes()}
        if self.kind == "layout":
            return any(value == self.boxes for use in recipe.methods for value in use.inputs.values())
        return bool(asked & given)


def with_others(value: Any, swap: Mapping[str, str]) -> Any:
    """JSON with other texts for those that are keys of `swap`."""
    if isinstance(value, str):
        return swap.get(value, value)
    if isinstance(value, dict):
        return {key: with_others(one, swap) for key, one in value.items()}
    return [with_others(one, swap) for one in value] if isinstance(value, (list, tuple)) else value
