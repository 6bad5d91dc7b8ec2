"""Texts of a recipe that are longer than the text encoder reads: said at their fields before the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.engine.method_checks import wanted
from app.schema.recipe import Problem, Recipe
from common.joined_prompts import joined_prompts
from common.text import one_line
from conditioning.registry import METHODS


def unread(recipe: Recipe, backbone: Any) -> list[Problem]:
    """Of each text that the run reads, the end that it does not, in words. backbone: or its outline."""
    if backbone is None:
        return []
    return [
        Problem(field, f"{label}: the end is not read, from “{one_line(end)}” on. {backbone.id} reads "
                f"{backbone.count_tokens(text)[1]} tokens of a text, and this one is longer.")
        for field, label, text in texts(recipe)
        if (end := backbone.unread(text))
    ]  # fmt: skip


def texts(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """(field, what it is called, text) of every text that the run reads; prompts that AND joins are several."""
    for text, _ in joined_prompts(recipe.prompt):
        yield "prompt", "Prompt", text
    if recipe.cfg_scale != 1 or len(joined_prompts(recipe.prompt)) > 1:
        yield "negative", "Negative prompt", recipe.negative
    for place, use in enumerate(recipe.methods):
        if (method := METHODS.get(use.name)) is None:
            continue
        for name, one in wanted(method).items():
            field, label, value = f"methods.{place}.inputs.{name}", method.label(name), use.inputs.get(name)
            if one.kind == "prompt" and isinstance(value, str):
                yield field, label, value
            elif one.kind == "boxes" and isinstance(value, tuple):
                for box in value:
                    yield field, label, getattr(box, "text", "")
