"""The stack of methods as the page holds it: one JSON text, checked here; and the strip of chips that shows it.

The page's own script (assets/stack.js) edits the cards and sends the whole stack back. Cards that are muted, or not
soloed while others are, stay on the page and out of the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.forms.page_catalogue import STRIP, catalogue, place
from app.schema.method_inputs import Use
from app.schema.recipe import SAMPLERS, TUNED, Problem, Recipe, RecipeError, problem_of, schedule_label
from app.schema.solvers import knob_label, knob_value
from app.theme import glyph
from common.joined_prompts import joined_prompts

FORMULA = (
    "Read from the inside out: ask is the network, what stands around it wraps its predictions, and what stands before "
    "“over” makes the steps with them"
)
LONGEST = 400_000  # characters of the JSON


class Card(Use):
    """One method on the page."""

    muted: bool = False
    solo: bool = False


class Stack(BaseModel):
    """The cards in their order. `places` says where the methods of the recipe stand among them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cards: tuple[Card, ...] = Field(default=(), max_length=32)

    @classmethod
    def read(cls, text: Any) -> Stack:
        """From the page. Raises RecipeError, with the card's field, for what cannot be."""
        if not isinstance(text, str) or not text.strip():
            return cls()
        if len(text) > LONGEST:
            raise RecipeError([Problem("methods", "The stack of methods is too long. Take some of them out.")])
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise RecipeError([problem_of({**e, "loc": ("methods", *e["loc"][1:])}) for e in found]) from None

    @classmethod
    def of(cls, recipe: Recipe) -> Stack:
        """The cards of a recipe, all of them in use; methods that are not here are left out."""
        known = _known() if recipe.methods else {}
        return cls(cards=tuple(Card(**use.model_dump()) for use in recipe.methods if use.name in known))

    @property
    def places(self) -> list[int]:
        """The cards that act, by their place on the page."""
        solo = any(card.solo for card in self.cards)
        return [i for i, card in enumerate(self.cards) if not card.muted and (card.solo or not solo)]

    @property
    def uses(self) -> tuple[Use, ...]:
        """What the recipe takes."""
        return tuple(Use(**self.cards[i].model_dump(include=set(Use.model_fields))) for i in self.places)

    def at(self, problem: Problem) -> Problem:
        """A problem of the recipe, at its place on the page."""
        head, _, rest = problem.field.partition(".")
        number, dot, tail = rest.partition(".")
        if head != "methods" or not number.isdigit() or int(number) >= len(self.places):
            return problem
        return Problem(f"methods.{self.places[int(number)]}{dot}{tail}", problem.message)

    def json(self) -> str:  # type: ignore[override]
        return self.model_dump_json()


# ---- the strip ------------------------------------------------------------------------------------------------------


def formula(recipe: Recipe, backbone: Any = None) -> str:
    """The stack as text, in the notation of `conditioning.compose`: what is called, and nothing else. backbone: None
    while it is being loaded."""
    plain = (recipe.cfg_start, recipe.cfg_end) == (0, 1) and len(joined_prompts(recipe.prompt)) == 1
    if not recipe.methods and plain:  # no need of the registry, which imports torch
        return f"{recipe.solver} over {'cfg(ask)' if recipe.cfg_scale != 1 else 'ask'}"
    from app.engine.unused_settings import formula as of_recipe

    return of_recipe(recipe, backbone)


def strip(
    model: str, recipe: Recipe, stack: Stack, wrong: Mapping[str, str] | None = None, backbone: Any = None
) -> str:
    """The chips in the order in which the methods act, and the formula below. wrong: field -> words. backbone: None
    while it is being loaded."""
    acting, prompts = set(stack.places), len(joined_prompts(recipe.prompt))
    chips: list[tuple[tuple[int, int, int], str]] = [
        ((0, -1, 0), _chip("training", model, "prompt" if prompts == 1 else f"{prompts} prompts")),
        ((STRIP.index("guidance"), -1, -1), _guidance(recipe)),
        ((STRIP.index(""), 0, 0), _sampling(recipe)),
    ]
    for i, card in enumerate(stack.cards):
        known = _known().get(card.name)
        if known is None:
            continue
        troubled = any(f"{field}.".startswith(f"methods.{i}.") for field in wrong or {})
        chips.append(((*place(card.name), i), _card_chip(i, card, known, i in acting, troubled)))
    shown = "".join(chip for _, chip in sorted(chips, key=lambda chip: chip[0]))
    return (
        '<ul class="nw-stack" aria-label="The stack of methods, in the order in which they act">'
        f'{shown}</ul><p class="nw-formula nw-mono" title="{FORMULA}">{escape(formula(recipe, backbone))}</p>'
    )


def titles(recipe: Recipe) -> str:
    """The methods of a recipe in words."""
    known = _known() if recipe.methods else {}  # importing the registry imports torch
    return " + ".join(known.get(use.name, {}).get("title", use.name) for use in recipe.methods)


def _known() -> dict[str, Any]:
    return catalogue()["methods"]


def _sampling(recipe: Recipe) -> str:
    """The chip of the sampler; where a method makes the steps in its place, of the schedule alone."""
    if recipe.methods:
        from app.engine.unused_settings import settings_used

        recipe = settings_used(recipe)
    called = "sampler" not in recipe.unused
    return _chip("", SAMPLERS.get(recipe.sampler, recipe.sampler) if called else "Steps", _schedule(recipe))


def _schedule(recipe: Recipe) -> str:
    label = schedule_label(recipe.schedule, recipe.steps)
    words = [label] if recipe.schedule in TUNED else [label, f"{recipe.steps} steps"]
    words += [f"{knob_label(name).lower()} {knob_value(value)}" for name, value in recipe.knobs_set.items()]
    words += ["analytical first step"] if recipe.afs else []
    words += [f"to sigma {recipe.stop_sigma:g}"] if recipe.stop_sigma else []
    return ", ".join(words)


def _guidance(recipe: Recipe) -> str:
    scale, whole = recipe.cfg_scale, (recipe.cfg_start, recipe.cfg_end) == (0, 1)
    when = "" if whole else f", {recipe.cfg_start:g} to {recipe.cfg_end:g}"
    return _chip("guidance", "CFG", "off" if scale == 1 else f"{scale:g}{when}", off=scale == 1)


def _chip(family: str, name: str, knob: str, off: bool = False) -> str:
    mark = glyph(family) if family else ""
    return (
        f'<li class="nw-chip"{" data-off" if off else ""}>{mark}<span>{escape(name)}</span>'
        f'<span class="nw-mono">{escape(knob)}</span></li>'
    )


def _card_chip(i: int, card: Card, known: dict[str, Any], acting: bool, troubled: bool) -> str:
    title, words = escape(known["title"]), escape(_main_knob(card, known))
    state = ("" if acting else " data-off") + (" data-wrong" if troubled else "")
    knob = f'<span class="nw-mono">{words}</span>' if words else ""
    mark = '<span class="nw-hidden">, something is wrong</span>' if troubled else ""

    def button(what: str, on: bool, letter: str) -> str:
        word = what.capitalize()
        return (
            f'<button type="button" class="nw-letter" data-card="{what}" data-place="{i}" title="{word}" '
            f'aria-pressed="{str(on).lower()}" aria-label="{word} {title}">{letter}</button>'
        )

    return (
        f'<li class="nw-chip nw-own"{state}>{glyph(known["family"])}'
        f'<button type="button" class="nw-chip-name" data-card="show" data-place="{i}">{title}{mark}</button>{knob}'
        f"{button('mute', card.muted, 'M')}{button('solo', card.solo, 'S')}</li>"
    )


def _main_knob(card: Card, known: dict[str, Any]) -> str:
    """The first knob, shortly."""
    if not known["knobs"]:
        return ""
    knob = known["knobs"][0]
    value = card.knobs.get(knob["name"], knob["default"])
    curved = isinstance(value, str) and ":" in value
    shown = "curve" if curved else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{knob['label'].lower()} {shown}"
