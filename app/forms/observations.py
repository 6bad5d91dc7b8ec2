"""What a card shows of what a method will be given: the degraded image, or the map made of an image, as the page asks
for it."""

from __future__ import annotations

import threading
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.schema.method_inputs import DegradationValue, Use
from app.schema.recipe import LIMITS, Recipe, RecipeError
from app.service.state import AppState
from common.fitting import Fit
from common.image_bytes import data_uri

_WAIT = 20.0  # seconds for a network that is just being loaded
_turn = threading.Lock()  # one measurement at a time: they share the processor with the runs


class Question(BaseModel):
    """A degradation, or an image by its hash, for the input of a method with these knobs, under the page's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    input: str
    given: DegradationValue | str
    knobs: dict[str, bool | int | float | str] = {}
    fit: Fit = "crop"
    backbone: str
    width: int = Field(ge=int(LIMITS["width"].low), le=int(LIMITS["width"].high))
    height: int = Field(ge=int(LIMITS["height"].low), le=int(LIMITS["height"].high))


def measured(state: AppState, data: bytes, visit_token: str) -> dict[str, Any]:
    """The JSON of a Question -> {"image": data URI, "words": how much is measured}, or {"error"} in words."""
    try:
        asked = Question.model_validate_json(data)
    except ValidationError:
        return {"error": "This degradation cannot be measured: see what is said below it."}
    model = state.model(asked.backbone)
    engine = model.engine(_WAIT)  # whose thread imports torch, once for all
    if engine is None or model.backbone is None:
        return {"error": f"{model.name} is not there yet."}
    from app.engine.observation_preview import preview

    use = Use(name=asked.method, knobs=asked.knobs, inputs={asked.input: asked.given}, fit={asked.input: asked.fit})
    recipe = Recipe(backbone=model.id, width=asked.width, height=asked.height, methods=(use,))
    images = {sha: image for sha in use.hashes() if (image := state.image(sha, visit_token)) is not None}
    try:
        with _turn:
            image, words = preview(recipe, model.backbone, images)
    except (RecipeError, ValueError, TypeError, KeyError, StopIteration) as error:
        return {"error": str(error) if isinstance(error, RecipeError) else "This cannot be measured."}
    return {"image": data_uri(image), "words": words}
