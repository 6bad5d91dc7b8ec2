"""The words of a text outside a network's vocabulary, each with the nearest known word.

unknown_words("a huge turquoise pole", PLAIN_VOCABULARY)
(("huge", "large"), ("turquoise", "cyan"), ("pole", "cylinder"))
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from world.lexicon import ITEMS, Item
from world.vocabulary import (
    ADJECTIVES,
    GROUND_TERMS,
    GROUNDS,
    NOUNS,
    NUMBERS,
    PLACES,
    RELATIONS,
    SKIES,
    SKY_TERMS,
)

# What a slip of the fingers costs, and how much of it a letter of the longer word forgives, but for one: three letters
# forgive two that changed places, four also one too many or too few, five also one that is another.
SWAPPED, MORE_OR_LESS, OTHER, FORGIVEN = 0.5, 0.75, 1.0, 0.25
# Words for what the world does not have, by the nearest that it has.
ALIKE = {
    "red": "crimson scarlet ruby maroon burgundy vermilion cherry",
    "orange": "amber tangerine coral apricot peach rusty rust",
    "yellow": "gold golden lemon mustard blond",
    "green": "emerald lime olive jade mint",
    "cyan": "turquoise teal aqua aquamarine",
    "blue": "navy azure indigo cobalt sapphire",
    "purple": "violet lilac lavender mauve plum",
    "white": "ivory cream pearl",
    "black": "ebony onyx",
    "grey": "silver slate ash charcoal",
    "pink": "magenta rose salmon fuchsia",
    "brown": "chocolate chestnut tan beige bronze",
    "small": "miniature minuscule short narrow petite",
    "large": "enormous gigantic massive immense tall colossal wide",
    "metal": "chrome steel iron copper aluminium aluminum glossy reflective mirrored mirror glass",
    "matte": "rubber clay plastic stone ceramic rough",
    "sphere": "marble bubble planet bead egg circle balloon",
    "cube": "brick crate dice die cuboid square rectangle house",
    "cylinder": "pipe barrel drum tower rod post trunk candle can tin stick",
    "cone": "funnel spike hat",
    "torus": "wheel tyre tire bagel bracelet loop",
    "pyramid": "tent tetrahedron triangle prism",
    "grass": "field garden park moss hill",
    "sand": "dune dunes dirt soil earth mud coast",
    "snow": "ice frost winter",
    "tiles": "concrete pavement street road kitchen bathroom",
    "wood": "table desk carpet shelf room",
    "daylight": "summer bright spring",
    "overcast": "rain rainy storm stormy fog foggy mist misty gloomy",
    "night": "stars starry moonlit",
    "behind": "above over atop",
    "in front of": "below under beneath underneath",
    "next to": "against touching around",
    "four": "five six seven eight nine ten many several",
}
OTHER_COLOURS = {"black": "blue", "grey": "white", "pink": "red", "brown": "orange"}  # for a network without these
ALIKE_BY_WORD = {word: phrase for phrase, words in ALIKE.items() for word in words.split()}


def unknown_words(text: str, known: Collection[str]) -> tuple[tuple[str, str], ...]:
    """The words of a text that are not among the known ones, in their order and once each, each with the
    nearest known word or phrase, or "" where there is none. Figures count as words, marks do not."""
    words = dict.fromkeys(re.findall(r"[^\W\d_]+|\d+", text.lower()))
    return tuple((word, nearest(word, known)) for word in words if word not in known)


def nearest(word: str, known: Collection[str]) -> str:
    """The nearest phrase of known words alone: of the same meaning, else similar, else spelt nearly so; "" where there
    is none."""
    word = word.lower()
    item = ITEMS.get((word,))
    alike = ALIKE_BY_WORD.get(word)
    if item is not None and (phrase := _first_known(_phrases(item, word), known)):
        return phrase
    if alike is not None:
        return alike if _first_known([alike], known) else nearest(alike, known)
    if item is not None and item.attribute == "colour" and item.value in OTHER_COLOURS:
        return _first_known([OTHER_COLOURS[str(item.value)]], known)
    if item is not None:  # a word of the world that is spelt well: "two" is no slip of "to"
        return ""
    return _spelt_nearly(word, known)


def _spelt_nearly(word: str, known: Collection[str]) -> str:
    """The known word that this one is a slip of, "" where none is near for its length: no "cat" for "at"."""
    costs = {
        one: slips(word, one) / (FORGIVEN * (max(len(one), len(word)) - 1))
        for one in sorted(known)
        if abs(len(one) - len(word)) <= 2 and len(one) > 2 and word[:1] in one[:2] and one[:1] in word[:2]
    }
    best = min(costs, key=lambda one: costs[one], default="")
    return best if best and costs[best] <= 1 else ""


def slips(typed: str, meant: str) -> float:
    """What it costs to make one word of the other: letters swapped, too many, too few, others (optimal string
    alignment, Damerau 1964, with these costs)."""
    rows = [[MORE_OR_LESS * j for j in range(len(meant) + 1)]]
    for i, a in enumerate(typed, 1):
        row = [MORE_OR_LESS * i]
        for j, b in enumerate(meant, 1):
            cost = min(rows[-1][j] + MORE_OR_LESS, row[-1] + MORE_OR_LESS, rows[-1][j - 1] + OTHER * (a != b))
            if i > 1 and j > 1 and (a, typed[i - 2]) == (meant[j - 2], b):
                cost = min(cost, rows[-2][j - 2] + SWAPPED)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def _first_known(phrases: Iterable[str], known: Collection[str]) -> str:
    return next((phrase for phrase in phrases if all(word in known for word in phrase.split())), "")


def _phrases(item: Item, word: str) -> Iterator[str]:
    """All synonyms of an item, the closest first."""
    value = str(item.value)
    if item.kind == "noun":
        pairs = sorted(NOUNS[value], key=lambda pair: word not in pair)  # its own other number first
        yield from (pair[item.plural] for pair in pairs)
        yield from (pair[0] for pair in pairs)
    elif item.kind == "adjective":
        yield from ADJECTIVES[item.attribute][value]
    elif item.kind == "number" and isinstance(item.value, int):
        yield from NUMBERS.get(item.value, ())
    elif item.kind in ("relation", "place"):
        yield from (RELATIONS if item.kind == "relation" else PLACES).get(value, ())
    elif item.kind in ("ground", "ground adjective"):
        yield from (*GROUND_TERMS[value], *GROUNDS[value])
    elif item.kind == "sky":
        yield from (*SKY_TERMS[value], *SKIES[value])
