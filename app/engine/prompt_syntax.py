"""What other tools read in a prompt beside its words, and what becomes of it here: said at the field before the run."""

from __future__ import annotations

import re
from typing import Any

from app.engine.loras import layers_said, reads_loras
from app.engine.unread_text import texts
from app.schema.recipe import Problem, Recipe
from common.joined_prompts import AND, joined_prompts
from common.lora_tags import TAG
from common.text import one_line
from common.weighted_text import ADAPTER, BREAK, CHANGING, HEAVIEST, HYPERNET, weighted

NO_ADAPTER = (ADAPTER, "{} loads an adapter in other tools. Here it loads none, and is left out.")
#: Where LoRA files act, and the prompt of the run names them.
NO_LORA = (
    (HYPERNET, "{} loads an adapter in other tools. Here it loads none, and is left out."),
    (TAG, "{} is read in the prompt alone. Here it loads no file, and is left out."),
)
#: (what it looks like, what to say of the first that is found), as AUTOMATIC1111 and its kin write it.
NOT_HERE = (
    (rf"(?<=\S)\s+{AND}\s+(?=\S)", "{} joins prompts in the prompt alone. Here it is the word “and”."),
    (CHANGING, "{} changes the prompt on the way in other tools. Here it is read as part of the text. "
               "For a weight write (word:0.8)."),
    (r"\{[^{}]*\|[^{}]*\}|__\w+__", "{} draws one of several texts in other tools. Here it is read as it stands."),
)  # fmt: skip
LEFT_OUT = (  # where the text encoder reads a text as one
    BREAK, "{} begins another chunk of the text in other tools. Here it is left out, and the text is read as one."
)  # fmt: skip
MOST_SAID = 6  # weights of one text


def syntax(recipe: Recipe, backbone: Any) -> list[Problem]:
    """Of each text that the run reads: what its weights do on this backbone (or its outline; None: not known), and one
    sentence on each kind of syntax that does nothing here."""
    weights = _weights(recipe) if _weighs(backbone) else []
    said = [*_joined(recipe, backbone), *weights, *_chunks(recipe, backbone), *_learned(recipe, backbone)]
    return [*said, *layers_said(recipe, backbone), *without_effect(recipe, backbone)]


def _weighs(backbone: Any) -> bool | None:
    """Whether it honours weights of words; None where it reads no words at all."""
    return True if backbone is None else getattr(backbone, "weighs_words", None)


def without_effect(recipe: Recipe, backbone: Any) -> list[Problem]:
    """The syntax of a recipe's texts that is not honoured on this backbone, each kind in a sentence."""
    kinds = NOT_HERE if getattr(backbone, "reads_chunks", False) else (*NOT_HERE, LEFT_OUT)
    adapters = NO_LORA if reads_loras(backbone) else (NO_ADAPTER,)
    found = [
        Problem(field, f"{label}: {words.format(f'“{one_line(match[0])}”')}")
        for field, label, text in texts(recipe)
        for pattern, words in (*adapters, *kinds)
        if (match := re.search(pattern, text)) and not (field == "prompt" and pattern == TAG)
    ]
    if _weighs(backbone) is not False:
        return found
    unweighed = [
        Problem(field, f"{label}: {backbone.id} weighs no words. It reads “{one_line(weighted(text).text)}”.")
        for field, label, text in texts(recipe)
        if weighted(text).weighs
    ]
    return [*unweighed, *found]


def _joined(recipe: Recipe, backbone: Any) -> list[Problem]:
    """Prompts that AND joins, as they are read."""
    prompts = joined_prompts(recipe.prompt)
    if len(prompts) < 2 or _weighs(backbone) is None:
        return []
    each = [f"“{one_line(text)}”" + (f" counts {weight:.3g} times" if weight != 1 else "") for text, weight in prompts]
    words = f"AND joins {len(prompts)} prompts, each true of the whole image: {', '.join(each)}"
    return [Problem("prompt", f"Prompt: {words}. Methods look for words in the first.")]


def _chunks(recipe: Recipe, backbone: Any) -> list[Problem]:
    """Where a text is parted into chunks by hand."""
    if not getattr(backbone, "reads_chunks", False):
        return []
    size = backbone.count_tokens("")[1]

    def chunks(text: str) -> str:
        number = backbone.count_tokens(text)[1] // size
        return f"{number} chunks" if number > 1 else "1 chunk"

    return [
        Problem(field, f"{label}: “BREAK” begins another chunk of the text. {backbone.id} reads it in {chunks(text)}, "
                f"each with {size} tokens of its own.")
        for field, label, text in texts(recipe)
        if re.search(BREAK, text)
    ]  # fmt: skip


def _learned(recipe: Recipe, backbone: Any) -> list[Problem]:
    """Words of textual inversion, which are files of this machine."""
    found: list[Problem] = []
    if (learned := getattr(backbone, "learned_words", None)) is None:
        return found
    for field, label, text in texts(recipe):
        said = [
            f"“{word.name}” is read as {word.vectors} learned {'vector' if word.vectors == 1 else 'vectors'}"
            for word in learned.in_text(text)
        ]
        if said:
            found.append(Problem(field, f"{label}: {', '.join(said[:MOST_SAID])}."))
    return found


def _weights(recipe: Recipe) -> list[Problem]:
    """What was understood, so that a bracket that was meant as one is seen."""
    found = []
    for field, label, text in texts(recipe):
        said = [(words, weight) for words, weight in weighted(text).said if abs(weight) <= HEAVIEST]  # else refused
        each = [f"“{one_line(words)}” counts {weight:.3g} times" for words, weight in said[:MOST_SAID]]
        if each:
            more = f", and {len(said) - MOST_SAID} more" if len(said) > MOST_SAID else ""
            found.append(Problem(field, f"{label}: {', '.join(each)}{more}."))
    return found
