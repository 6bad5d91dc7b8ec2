"""What other tools read in a prompt beside its words, and what becomes of it here: said at the field before the run."""

from __future__ import annotations

import re

from app.engine.unread_text import texts
from app.schema.recipe import Problem, Recipe

#: (what it looks like, what to say of the first that is found), as AUTOMATIC1111 and its kin write it.
SYNTAX = (
    (r"<\s*(?:lora|lyco|hypernet|embedding)\s*:[^<>]*>", "{} loads an adapter in other tools. Here it loads none."),
    (r"\([^()]*:\s*\d*\.?\d+\s*\)|\(\([^()]*\)\)|\[\[[^\[\]]*\]\]",
     "{} weighs words in other tools. Here brackets and numbers carry no weight: they are read as part of the text."),
    (r"\[[^\[\]|]*:[^\[\]|]*:\s*\d*\.?\d+\s*\]|\[[^\[\]]*\|[^\[\]]*\]",
     "{} changes the prompt on the way in other tools. Here it is read as part of the text."),
    (r"\{[^{}]*\|[^{}]*\}|__\w+__", "{} draws one of several texts in other tools. Here it is read as it stands."),
    (r"(?<=\S)\s+AND\s+(?=\S)", "{} joins two prompts in other tools. Here the method Composable diffusion does."),
    (r"\bBREAK\b", "{} begins another part of the text in other tools. Here it is read as a word."),
)  # fmt: skip


def syntax(recipe: Recipe) -> list[Problem]:
    """Of each text that the run reads, one sentence on each kind of syntax in it."""
    return [
        Problem(field, f"{label}: {words.format(f'“{match[0].strip()[:60]}”')}")
        for field, label, text in texts(recipe)
        for pattern, words in SYNTAX
        if (match := re.search(pattern, text))
    ]
