"""What is wrong with a recipe, what its run leaves unused, and how many network evaluations it makes: without any
weights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import backbones
from app.engine.planner import problems as problems_on
from app.engine.prompt_syntax import syntax
from app.engine.unread_text import unread
from app.engine.unused_settings import formula, unused, unusual_guidance
from app.errors import BeingFetched
from app.schema.recipe import Problem
from app.service.counting import evaluations
from app.service.reading import Request
from backbones.embedded import EMBEDDED
from backbones.outline import outline

REFUSED = "The recipe is refused."


@dataclass(frozen=True)
class Check:
    """formula: what is called, in the notation of `conditioning.compose`; "" where the recipe cannot be read.

    problems: why the recipe is refused, unused: what its run leaves unused, what guidance below 1 means, and what
    becomes of weights and other syntax in its texts, each at its field in words. nfe: network evaluations of the whole
    run, as a finished run counts them. rows: those in these evaluations, two for each image under guidance. Both are
    None where nothing is known without the network, and then `nfe_reason` says why.
    """

    formula: str
    problems: tuple[Problem, ...]
    unused: tuple[Problem, ...]
    nfe: int | None = None
    rows: int | None = None
    nfe_reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON: problems and unused are lists of {"field", "message"}."""
        fields = asdict(self)
        return fields | {key: [one._asdict() for one in getattr(self, key)] for key in ("problems", "unused")}


def check(
    request: Request,
    ids: Collection[str] | None = None,
    known_of: Callable[[str], Any] | None = None,
    outline_of: Callable[[str], Any] | None = None,
) -> Check:
    """ids: of the backbones that may run here; None for every one that can be loaded. known_of(id): see
    `known_backbone`, which is the default; outline_of(id): likewise, but never a network that is loaded, which belongs
    to the thread that runs it. Never raises for a recipe."""
    recipe = request.recipe
    if recipe is None:
        return Check("", request.problems, (), nfe_reason=REFUSED)
    known, problems = recipe_problems(request, ids, known_of)
    leaves = (*unused(recipe, known), *unusual_guidance(recipe, known), *unread(recipe, known), *syntax(recipe, known))
    leaves += (*assumed(known), *request.unused)
    if problems:
        return Check(formula(recipe, known), tuple(problems), leaves, nfe_reason=REFUSED)
    try:
        count = evaluations(recipe, (outline_of or known_backbone)(recipe.backbone), request.images)
    except OSError as error:
        return Check(formula(recipe, known), (), leaves, nfe_reason=f"{error}.")
    return Check(formula(recipe, known), (), leaves, count.nfe, count.rows, count.reason)


def recipe_problems(
    request: Request, ids: Collection[str] | None = None, known_of: Callable[[str], Any] | None = None
) -> tuple[Any, list[Problem]]:
    """What is known of the recipe's backbone without its weights (None: nothing), and all that is wrong."""
    recipe, problems = request.recipe, list(request.problems)
    if recipe is None:
        return None, problems
    problems += request.missing
    if ids is not None and recipe.backbone not in ids:
        here = f"Choose one of: {', '.join(ids)}."
        return None, [Problem("backbone", f"Model: {recipe.backbone!r} does not run here. {here}"), *problems]
    try:
        known = (known_of or known_backbone)(recipe.backbone)
    except BeingFetched:  # it is checked again once it is here
        return None, problems
    except OSError as error:
        return None, [Problem("backbone", f"Model: {error}."), *problems]
    said = {one.field for one in problems}
    problems += [one for one in problems_on(recipe, known, recipe.backbone) if one.field not in said]
    return known, problems


def assumed(known: Any) -> list[Problem]:
    """What was assumed of the model's files, at the model."""
    words = getattr(known, "note", "")
    return [Problem("backbone", words)] if words else []


def known_backbone(id: str, name: str | None = None) -> Any:
    """What is known of a backbone without its weights; the oracle itself, which has none. name: what it is called in
    place of the id. Raises OSError in words."""
    return _embedded(id) if id in EMBEDDED else outline(id, name)


@cache
def _embedded(id: str) -> Any:
    return backbones.load(id) if EMBEDDED[id].folder is None else outline(id)
