"""What this machine has, and how it differs from one that made an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from app.schema.recipe import Recipe
from app.version import VERSION

LIBRARIES = ("torch", "diffusers", "transformers")


@cache
def versions() -> Mapping[str, str]:
    """This program's version and those of the libraries that compute the image, read without importing them."""
    found = {"nine-ways": VERSION}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Here:
    """What this machine can do: backbones (id -> revision), methods, versions (with "device": "cpu", "cuda", ...)."""

    backbones: Mapping[str, str] = field(default_factory=dict)
    methods: Collection[str] = ()
    versions: Mapping[str, str] = field(default_factory=versions)


def here(engine: Any = None) -> Here:
    """The present machine, as far as it is known; with an engine that has loaded, its backbone and device too."""
    return engine.here() if engine is not None else Here()


def differences(recipe: Recipe, here: Here) -> list[str]:
    """What differs between the machine that made `recipe` and this one, in words; [] where nothing is known to."""
    words = []
    if here.backbones:
        present = here.backbones.get(recipe.backbone)
        if present is None and recipe.revision not in {*here.backbones.values()} - {""}:
            words.append(f"Model {recipe.backbone} is not here. There is: {', '.join(here.backbones)}.")
        elif recipe.revision and present and recipe.revision != present:
            words.append(
                f"Model {recipe.backbone} has other weights here ({present[:12]}) than when the image was made "
                f"({recipe.revision[:12]}): expect another image."
            )
    missing = [use.name for use in recipe.methods if use.name not in here.methods]
    if missing:
        words.append(f"Unknown methods are left out: {', '.join(missing)}.")
    for name, version in recipe.versions.items():
        now = here.versions.get(name)
        if now is not None and now != version:
            words.append(f"Made with {name} {version}; here it is {now}: the image may differ in small details.")
    return words
