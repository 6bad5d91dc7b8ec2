"""The events of a run and the cells of a comparison as plain JSON: lines of the command line, answers of the server."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from app.comparison.runner import State
from app.comparison.spec import Cell, Comparison
from app.engine.events import Cancelled, Event, Failed, Finished, Made, Preparing, Progress, Queued
from app.schema.recipe import Problem


def as_json(event: Event) -> dict[str, Any]:
    """One event, by its name in "event"; images are not in it."""
    match event:
        case Queued(position=position):
            return {"event": "queued", "position": position}
        case Preparing(words=words, step=step, steps=steps, seconds_left=left):
            return {"event": "preparing", "words": words, "step": step, "steps": steps, "seconds_left": left}
        case Progress():
            return {
                "event": "progress", "step": event.step, "steps": event.steps, "sigma": event.sigma,
                "seconds_left": event.seconds_left, "nfe": event.nfe, "images": event.made,
            }  # fmt: skip
        case Made(index=index, recipe=recipe):
            return {"event": "image", "index": index, "recipe": recipe.model_dump(mode="json")}
        case Finished():
            return {
                "event": "finished", "images": len(event.images), "formula": event.formula, "nfe": event.nfe,
                "rows": event.rows, "gradients": event.gradients, "seconds": round(event.seconds, 3),
                "own_seconds": round(event.own_seconds, 3), "shared": event.shared, "remembered": event.remembered,
            }  # fmt: skip
        case Failed(reason=reason, field=field):
            return {"event": "failed", "message": reason, "field": field}
        case Cancelled():
            return {"event": "cancelled"}


def refused(problems: Iterable[Problem]) -> dict[str, Any]:
    """A recipe that is not run, with everything that is wrong."""
    return {"event": "refused", "problems": [one._asdict() for one in problems]}


def cell(comparison: Comparison, one: Cell, state: State) -> dict[str, Any]:
    """A cell of a comparison and how it is; "result" where its image is there, "message" where it failed."""
    message: dict[str, Any] = {
        "event": "cell", "key": one.key, "place": list(one.place), "label": comparison.label(one.place),
        "status": state.status,
    }  # fmt: skip
    if state.result is not None:
        result = asdict(state.result)
        figures = {name: value if math.isfinite(value) else None for name, value in state.result.figures.items()}
        message["result"] = {**result, "figures": figures}  # JSON knows no nan
    if state.reason:
        message["message"] = state.reason
    return message


def finished_comparison(id: str, made: int, done: int, failed: int) -> dict[str, Any]:
    """made: cells that were made now; done: with an image, by place; failed: without one."""
    return {"event": "finished", "id": id, "made": made, "done": done, "failed": failed}
