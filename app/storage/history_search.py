"""What a search in the history means, as a condition of SQL: words, with a minus in front of what is not meant."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

MOST_WORDS = 20
NO_TITLES: Mapping[str, str] = MappingProxyType({})
#: Never NULL, so that it can be negated. A sampler was a name of its own in schema 1.
_SAYS = """(
    words LIKE ? ESCAPE '\\'
    OR instr(recipe, 'seed":' || ? || ',') > 0  -- or variation_seed; as text: SQLite has no whole numbers of 64 bits
    OR coalesce(json_extract(recipe, '$.width') || 'x' || json_extract(recipe, '$.height'), '') = ?
    OR EXISTS (
        SELECT 1 FROM (
            SELECT json_extract(recipe, '$.backbone') AS name
            UNION ALL SELECT coalesce(json_extract(recipe, '$.sampler.name'), json_extract(recipe, '$.sampler'))
            UNION ALL SELECT json_extract(recipe, '$.schedule')
            UNION ALL SELECT json_extract(value, '$.name') FROM json_each(recipe, '$.methods')
        ) WHERE name LIKE ? ESCAPE '\\' OR name IN ({called})
    )
)"""


def condition(
    words: str, titles: Mapping[str, str], among: Collection[int] | None, favourites: bool
) -> tuple[str, tuple[object, ...]]:
    """(WHERE ..., its values) for the table of images; ("", ()) where everything is meant.

    titles: by the name of a method, sampler, schedule or model, what it is called otherwise.
    among: the ids that may be found, None for all of them.
    """
    found: list[str] = []
    values: list[object] = []
    for word in words.casefold().split()[:MOST_WORDS]:
        negated = word.startswith("-") and len(word) > 1
        said, own = _said(word[1:] if negated else word, titles)
        found.append(("NOT " if negated else "") + said)
        values += own
    if among is not None:
        found.append("id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(sorted(among)))
    if favourites:
        found.append("file IN (SELECT file FROM favourites)")
    return ("WHERE " + " AND ".join(found) if found else ""), tuple(values)


def _said(word: str, titles: Mapping[str, str]) -> tuple[str, list[object]]:
    """Whether an image is said to be this, and the values of that."""
    part = "%" + word.translate({ord(c): f"\\{c}" for c in "\\%_"}) + "%"
    size = word.replace("×", "x") if re.fullmatch(r"\d+[x×]\d+", word) else "no size"
    if word.isdigit():  # a seed, or a number of the prompt: not the 2 in "DPM++ 2M"
        return _SAYS.format(called=""), [part, word, size, ""]
    called = [name for name, title in titles.items() if word in title.casefold()]
    return _SAYS.format(called=", ".join("?" * len(called))), [part, word, size, part, *called]
