"""LoRA files of a run: those that its prompt names, <lora:name:weight>, and those of the method's card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from app.schema.recipe import Problem, Recipe, RecipeError
from backbones import lora_files
from common.curves import Curve, parse
from common.lora_tags import TAG, WRITE, lora_tags, without_tags
from conditioning.inputs import Lora, opened_loras
from conditioning.registry import METHODS

METHOD, FILES, WEIGHT = "lora", "files", "weight"  # of the registry, its input, its knob


def reads_loras(backbone: Any) -> bool:
    """Whether LoRA files act there. backbone: or its outline."""
    return METHOD in getattr(backbone, "offers", ())


def in_prompt(recipe: Recipe, backbone: Any) -> str:
    """What the prompt names, as text; "" where the backbone has no layers for it."""
    return " ".join(match[0] for match in re.finditer(TAG, recipe.prompt)) if reads_loras(backbone) else ""


def prompt_problems(recipe: Recipe, backbone: Any) -> Iterator[Problem]:
    """What is wrong with the files that the prompt names."""
    if words := wrong(in_prompt(recipe, backbone), backbone):
        yield Problem("prompt", f"Prompt: {words}")


def wrong(text: str, backbone: Any) -> str:
    """What is wrong with a text that names files, in words, or ""."""
    if left := without_tags(text).strip(" ,;\n"):
        return f"“{left[:40]}” names no file: {WRITE}."
    try:
        for one in lora_tags(text):
            if reads_loras(backbone):
                lora_files.checked(one.name, backbone.id, backbone.folder)
    except (ValueError, OSError) as error:
        words = str(error)
        return words if words.endswith("?") else f"{words}."
    return ""


def layers_said(recipe: Recipe, backbone: Any) -> list[Problem]:
    """How many layers of each file act, and which do not, at the field that names it."""
    if not reads_loras(backbone):
        return []
    fields = [("prompt", "Prompt", in_prompt(recipe, backbone))]
    for place, use in enumerate(recipe.methods):
        if use.name == METHOD and isinstance(given := use.inputs.get(FILES), str):
            fields.append((f"methods.{place}.inputs.{FILES}", METHODS[METHOD].label(FILES), given))
    return [
        Problem(field, f"{label}: {' '.join(_said(text, backbone))}")
        for field, label, text in fields
        if text and not wrong(text, backbone)
    ]


def _said(text: str, backbone: Any) -> Iterator[str]:
    for one in lora_tags(text):
        fit = lora_files.checked(one.name, backbone.id, backbone.folder)
        idle = " At a weight of 0 it does nothing." if not one.weight and not one.text_weight else ""
        yield f"{fit.words(one.name)}.{idle}"


def named(recipe: Recipe, backbone: Any) -> dict[str, dict[str, str]]:
    """The files that a run of this recipe uses, as fields of the recipe: name -> hash of the content, of the
    tensors."""
    texts = [in_prompt(recipe, backbone), *(_of_card(recipe)[:1])]
    tags = [one for text in texts for one in lora_tags(text)] if reads_loras(backbone) else []
    files = {one.name: lora_files.opened(lora_files.find(one.name)) for one in tags}
    return {"loras": {name: file.digest for name, file in files.items()},
            "lora_hashes": {name: file.tensors_digest for name, file in files.items()}}  # fmt: skip


def differences(recipe: Recipe) -> list[str]:
    """What differs between the LoRA files that an image was made with, or that its prompt names, and those here, in
    words. Files with the same tensors are the same, whatever else stands in them."""
    words, here = [], lora_files.names()
    for name in dict.fromkeys([*recipe.loras, *recipe.lora_hashes, *_names(recipe.prompt)]):
        whole, tensors = recipe.loras.get(name, ""), recipe.lora_hashes.get(name, "")
        made_with = tensors or whole
        if name not in here:
            which = f" (sha256 {whole[:12]})" if whole else f" (A1111's hash {tensors[:12]})" if tensors else ""
            words.append(f"The LoRA file “{name}”{which} is not here: put it into the folder "
                         f"{lora_files.folder().name}, or take it out.")  # fmt: skip
            continue
        try:
            now = lora_files.opened(here[name])
            same = not made_with or any(one.startswith(made_with) for one in now.hashes)
        except OSError as error:
            words.append(f"The LoRA file “{name}”: {error}.")
            continue
        if not same:
            is_now = now.tensors_digest if tensors else now.digest
            words.append(f"The LoRA file “{name}” is another one here ({is_now[:12]}) than when the image was made "
                         f"({made_with[:12]}): expect another image.")  # fmt: skip
    return words


def _names(text: str) -> list[str]:
    try:
        return [one.name for one in lora_tags(text)]
    except ValueError:
        return []  # said at the field


def opened(recipe: Recipe, backbone: Any) -> tuple[list[Lora], Any]:
    """The files that the prompt names, and the backbone as it reads prompts with all files of the run. Raises
    RecipeError, at the field."""
    prompt, (card, strength) = in_prompt(recipe, backbone), _of_card(recipe)
    if not (prompt or card) or not reads_loras(backbone):
        return [], backbone
    try:
        of_prompt, of_card = opened_loras(prompt, backbone), opened_loras(card, backbone)
    except (ValueError, OSError) as error:
        raise RecipeError([Problem("prompt" if prompt else "methods", f"{error}.")]) from error
    weights: dict[str, float] = {}
    for times, files in ((1.0, of_prompt), (strength, of_card)):
        for one in files:
            weights[one.key] = weights.get(one.key, 0.0) + times * one.text_weight
    return of_prompt, backbone.reading_with(weights)


def _of_card(recipe: Recipe) -> tuple[str, float]:
    """(what its card names, the weight of all of these where it is strongest)."""
    for use in recipe.methods:
        if use.name == METHOD and isinstance(given := use.inputs.get(FILES), str):
            weight = use.knobs.get(WEIGHT, METHODS[METHOD].knobs[WEIGHT].default)
            weight = parse(weight) if isinstance(weight, str) else weight
            return given, max(weight.values, key=abs) if isinstance(weight, Curve) else float(weight)
    return "", 0.0
