"""The settings that a model was made for, and what is said of a run of a few-step model with others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from app.schema.recipe import Problem, Recipe


@dataclass(frozen=True)
class ModelSettings:
    """steps, cfg_scale, sampler: of its model card or its pipeline in diffusers, in the words of recipes: a guidance of
    0 there is a CFG Scale of 1 here, one evaluation a step. few: whether it was distilled to few steps."""

    steps: int
    cfg_scale: float
    sampler: str = "euler"
    few: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """Fields of a recipe. The schedule type is Automatic: the levels of its own pipeline."""
        return {"steps": self.steps, "cfg_scale": self.cfg_scale, "sampler": self.sampler, "schedule": "native"}


#: Name of a family of transformers -> settings; those of its pipeline in diffusers.
FAMILIES = {
    "Qwen-Image": ModelSettings(50, 4.0), "Z-Image": ModelSettings(50, 5.0), "FLUX.2 klein": ModelSettings(50, 4.0),
    "FLUX.1": ModelSettings(28, 1.0), "FLUX.1 Kontext": ModelSettings(28, 1.0), "FLUX.1 Fill": ModelSettings(50, 1.0),
    "Krea 2": ModelSettings(28, 5.5), "Stable Diffusion 3": ModelSettings(28, 7.0), "Sana": ModelSettings(20, 4.5),
    "PixArt": ModelSettings(20, 4.5),
}  # fmt: skip
#: The same for what was distilled to few steps; the number of steps is that of their cards.
DISTILLED = {"FLUX.1": 4, "FLUX.2 klein": 4, "Krea 2": 8, "Z-Image": 8, "Stable Diffusion 3": 4}
#: Of UNets, which say nothing of it in their files: part of a name -> sampler and steps of its card, unless the name
#: has a number of steps ("SDXL-Lightning 4step").
NAMES = {"lightning": ("euler", 4), "hyper": ("euler", 8), "turbo": ("ancestral", 4), "lcm": ("lcm", 4)}
RESET = "“Reset settings” puts in what it was made for."
NUMBER = re.compile(r"(\d+)[-_ ]?steps?")


def model_settings(backbone: Any) -> ModelSettings | None:
    """What a loaded backbone, or its outline, was made for; None where nothing is known of it."""
    if backbone is None:
        return None
    name, offers = str(backbone.id).lower(), getattr(backbone, "offers", ())
    family = getattr(backbone, "family", None)
    if family is not None:
        is_few = bool(backbone.settings.get("is_distilled")) or "turbo" in name
        is_few |= family.name == "FLUX.1" and "distilled guidance" not in offers  # schnell
        if is_few and family.name in DISTILLED:
            return ModelSettings(DISTILLED[family.name], 1.0, few=True)
        return FAMILIES.get(family.name)
    if "distilled guidance" in offers:
        return ModelSettings(4, 1.0, "lcm", few=True)
    for part, (sampler, steps) in NAMES.items():
        if part in name and "features" in offers:
            named = NUMBER.search(name)
            return ModelSettings(int(named[1]) if named else steps, 1.0, sampler, few=True)
    return None


def unusual_settings(recipe: Recipe, backbone: Any) -> list[Problem]:
    """In words, where a model that was distilled to few steps is asked for another kind of run."""
    made = model_settings(backbone)
    if made is None or not made.few:
        return []
    said = []
    if recipe.cfg_scale > 1.5 and "distilled guidance" not in getattr(backbone, "offers", ()):
        words = "this model was distilled to need no guidance: above 1 colours burn, and a step costs twice."
        said.append(Problem("cfg_scale", f"CFG Scale: {words} {RESET}"))
    if recipe.steps > 3 * made.steps:
        words = f"this model was distilled to {made.steps} steps: more take longer and often look worse."
        said.append(Problem("steps", f"Sampling steps: {words} {RESET}"))
    return said
