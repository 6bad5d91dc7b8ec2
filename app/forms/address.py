"""What stands behind the # of the page's address: a tab, and in it a recipe or a comparison.

    #create?prompt=a red cube&seed=7&steps=20      settings of Create; what is not named is at its default
    #compare?id=20260101-120000-ab12               a comparison; in private with a signature, which opens it for others
    #trajectory?id=18a3f&sign=5e2b                 runs that were followed, while the server has them in memory
    #taxonomy

So a page can be linked to, and Back and Forward lead through what was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from app.schema.recipe import Recipe

TABS = ("create", "history", "compare", "trajectory", "taxonomy")
LONGEST = 100_000  # characters that are read
#: Fields that are of the machine that made an image.
NOT_LINKED = ("revision", "versions", "embeddings", "loras", "lora_hashes", "unused")
USUAL = Recipe()
NAMED = ("prompt", "backbone", "seed")  # also where they are as usual


@dataclass(frozen=True)
class Address:
    """What an address names. values: its parameters as text."""

    tab: str = "create"
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe | None:
        """The settings that it names, None where it names none. Raises RecipeError with each that is wrong."""
        if self.tab != "create" or not self.values:
            return None
        fields = {name: _value(name, text) for name, text in self.values.items() if name not in NOT_LINKED}
        return Recipe.make(**fields)

    @property
    def comparison(self) -> tuple[str, str]:
        """The id of the comparison that it names, and the signature; "" for none."""
        return self._signed("compare")

    @property
    def trajectory(self) -> tuple[str, str]:
        """The same of the runs that were followed."""
        return self._signed("trajectory")

    def _signed(self, tab: str) -> tuple[str, str]:
        named = self.values if self.tab == tab else {}
        return named.get("id", ""), named.get("sign", "")


def read(text: Any) -> Address:
    """The address behind the #; Create where it names no tab."""
    tab, _, values = str(text or "")[:LONGEST].removeprefix("#").partition("?")
    return Address(tab, dict(parse_qsl(values, keep_blank_values=True))) if tab in TABS else Address()


def of_recipe(recipe: Recipe) -> str:
    """Create with these settings."""
    values: dict[str, str] = {}
    for name in (*NAMED, *(name for name in Recipe.model_fields if name not in (*NAMED, *NOT_LINKED))):
        value = recipe.knobs_set if name == "sampler_knobs" else getattr(recipe, name)
        if name in NAMED or value != ({} if name == "sampler_knobs" else getattr(USUAL, name)):
            values[name] = value if isinstance(value, str) else json.dumps(value, default=_plain)
    return _written("create", values)


def of_comparison(id: str, signature: str = "") -> str:
    """Compare with this comparison. signature: opens it for whoever has the address."""
    return _written("compare", {"id": id} | ({"sign": signature} if signature else {}))


def of_trajectory(id: str, signature: str) -> str:
    """Trajectory with these runs."""
    return _written("trajectory", {"id": id, "sign": signature})


def _written(tab: str, values: Mapping[str, str]) -> str:
    return f"#{tab}?{urlencode(values, quote_via=quote)}"


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json")


def _value(name: str, text: str) -> Any:
    known = Recipe.model_fields.get(name)
    if known is None or known.annotation is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # which the recipe refuses, in words
