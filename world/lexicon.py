"""From the words of a text to items: what the parser reads.

    items("a big box behind it")     article, adjective size large, noun cube, relation behind, pronoun

Phrases of several words are looked up first, the longest of them. What no table knows is corrected where it is nearly a
word of the world ("yelow"), else it is an item of kind "unknown".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from world.vocabulary import ADJECTIVES, NOUNS, PLACES, RELATIONS

LONGEST = 4_000  # words of a text that are read; the rest is ignored
CORRECTED = 60  # unknown words of a text that are compared with the known ones
CORRECTABLE = ("noun", "adjective", "ground", "ground adjective", "sky")
SIMILAR = 0.82  # of two spellings, by difflib; "shpere" is 0.83 like "sphere", "clock" 0.80 like "block"


@dataclass(frozen=True)
class Item:
    """kind: what sort of word; value: what it says; start, end: its words in the text, counted."""

    kind: str
    value: str | int = ""
    attribute: str = ""
    start: int = 0
    end: int = 0
    plural: bool = False


def split_words(text: str) -> list[str]:
    """The words and marks of a text, in lower case; contractions in full ("it's": "it", "is")."""
    text = text.lower().replace("’", "'").replace("\n", " . ")
    text = re.sub(r"\b(don|doesn|didn|isn|aren|won|can)'?t\b", r"\1 not", text)
    text = re.sub(r"\b(it|there|that|here|what|he|she)'s\b", r"\1 is", text)
    tokens = re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+|[.,;:!?+/&()–—]| - ", text)
    words: list[str] = []
    for word in tokens:
        parts = word.split("-")
        split = len(parts) > 1 and " " not in word and word not in PHRASES_OF_ONE and all(p in KNOWN for p in parts)
        words += parts if split else [word.strip()]
    return words


def _table() -> dict[tuple[str, ...], Item]:
    table: dict[tuple[str, ...], Item] = {}

    def add(kind: str, phrases: str, value: str | int = "", attribute: str = "", plural: bool = False) -> None:
        for phrase in phrases.split("|"):
            table[tuple(phrase.split())] = Item(kind, value, attribute, plural=plural)

    for shape, pairs in NOUNS.items():
        for singular, plural_form in pairs:
            add("noun", singular, shape)
            add("noun", plural_form, shape, plural=True)
    add("noun", "tori", "torus", plural=True)
    add("thing", "thing|object|shape|solid|item|something")
    add("thing", "things|objects|shapes|solids|items", plural=True)
    for attribute, values in ADJECTIVES.items():
        for value, words in values.items():
            add("adjective", "|".join(words), value, attribute)
    add("article", "a|an|some|my|your|another|this|single|a single|one single|any|each|every")
    add("article", "the|these|those", "the")
    add("number", "one|1|just one|only one|exactly one", 1)
    many = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    for number, word in enumerate(many, 2):
        add("number", word, number)
    add("number", "a pair of|pair of|a couple of|couple of|a couple|twin|two of", 2)
    add("number", "several|a few|few|three of", 3)
    add("number", "many|lots of|a lot of|a dozen|dozens of", 12)
    add("other", "the other|the other one|the second|the second one|the third|the third one|the last one|the first")
    add("other", "the first one|other one|another one|the fourth")
    add("number", "one|ones", 1)  # or a pronoun: the parser finds out
    add("both", "both|both of them|both are|they|they are|each is", "both")
    add("both", "all|all of them|all are|they are all|all of which", "all")
    for relation, phrases in RELATIONS.items():
        for phrase in phrases:
            for word in ("", "just ", "right ", "directly ", "slightly ", "a bit ", "a little ", "far ", "close "):
                add("relation", word + phrase, relation)
    add("relation", "on the left side of|on the left hand side of|on the left-hand side of|at the left of", "left")
    add("relation", "to the left side of|to left of|leftwards of|left from", "left")
    add("relation", "on the right side of|on the right hand side of|on the right-hand side of|at the right of", "right")
    add("relation", "to the right side of|to right of|right from", "right")
    add("relation", "in back of|at the back of|in the back of|to the rear of|some way behind|hidden behind", "behind")
    add("relation", "at the front of|in the front of", "front")
    add("relation", "adjacent to|alongside|near to|nearby|touching|close by|right by|by the side of", "next")
    add("relation", "by a|by an|by the", "next", attribute="article")
    add("relation", "away from|a long way from|distant from|nowhere near|not near", "far")
    for side in ("left", "right"):
        for whose in ("its", "their", "his", "her"):
            add("relation", f"to {whose} {side}|on {whose} {side}|at {whose} {side}|{whose} {side}", side, "pronoun")
    add("relation", "in its front|before it", "front", "pronoun")
    add("relation", "at its back", "behind", "pronoun")
    add("relation", "at its side|by its side|close by it", "next", "pronoun")
    add("between", "between|in between|in the middle between|in the middle of two|in the space between")
    add("together", "side by side|next to each other|beside each other|close together|close to each other")
    add("together", "near each other|together|right next to each other|touching each other")
    add("row", "from left to right|left to right", "left")
    add("row", "from right to left|right to left", "right")
    for place, phrases in PLACES.items():
        add("place", "|".join(phrases), place)
    for side in ("left", "right"):
        for way in ("on", "at", "to", "in"):
            add("place", f"{way} the {side} side|{way} the {side} hand side|{way} the {side}-hand side", side)
            add("place", f"{way} {side}|{way} the far {side}|{way} the {side}|{way} the {side} half|far {side}", side)
        add("place", f"{side}|{side} side|{side}-hand side", side)
    add("place", "centre|center|middle|at the centre|at the center|at the middle|in the very middle|central", "middle")
    add("place", "in the center|in center|centered|centred|in the exact centre", "middle")
    add("place", "front|in the front|up front|at front|in foreground|near the front|closest|foreground", "front")
    add("place", "back|in back|at back|in background|in the distance|at the rear|far back|further back", "back")
    add("place", "up close|close up|nearest", "front")
    add("place", "far away|in the far distance|further away|way back", "back")
    add("where", "background|setting|floor|ground|surface|field|scene|time of day|time|weather|lighting|light|sky|hill")
    add("where", "table|day time of|surroundings|environment|of the picture|of the image|of the photo|of the scene")
    add("where", "in the picture|in the image|of the frame|picture|image|photo|the picture|the image|frame")
    for ground, words in GROUND_WORDS.items():
        add("ground", "|".join(words), ground)
    for ground, words in GROUND_ADJECTIVES.items():
        add("ground adjective", "|".join(words), ground)
    for sky, words in SKY_WORDS.items():
        add("sky", "|".join(words), sky)
    add("sky", "day|daytime|day time", "day", attribute="weak")
    add("shade", "light|pale|deep|lighter")
    add("shade", "dark|darker", "night")
    add("shade", "bright|brightly", "day")
    add("clouds", "sky|skies|heaven|cloud|clouds")
    add("not", "no|not|without|without any|never|lacking|minus|nor|neither|not any|no more|there is no|there are no")
    add("nothing", "nothing|nothing that is|not anything|nothing is|without anything")
    add(
        "passed over",
        "nothing else|no other|no others|nothing more|no one|no text|no people|only|just|exactly|not only",
    )
    add("pronoun", "it|that one|this one|him|her", "it")
    add("pronoun", "them|both of them|all of them|the others|the rest|everything|the two|the other two", "them")
    add("verb", "is|are|stands|stand|standing|sits|sit|sitting|lies|lie|lying|rests|rest|resting|was|were|there is")
    add("verb", "there are|there stands|there lies|there sits|you see|we see|i see|you can see|we can see|can be seen")
    add("verb", "which is|which are|that is|that are|which|that|who is|its|being|looks|look|placed|comes|there")
    add("with", "with|has|have|having|holding")
    add("and", "and|plus|+|&|as well as|along with|together with|then|but|beside which|also|and then|and also|while")
    add("or", "or")
    add("comma", ",|/|(|)|–|—|-")
    add("colon", ":")
    add("stop", ".|;|!|?")
    add("degree", "very|really|so|quite|rather|too|extremely|super|much|pretty|fairly|nice|teeny|itty|great|in colour")
    add(
        "degree",
        "in color|coloured|colored|made of|made from|made out of|x|quite a|of|colour|color|sized|in size|style",
    )
    for parts, item in list(table.items()):  # "on the left of the picture" is no relation
        if item.kind == "place":
            table |= {(*parts, "of", "the", whole): item for whole in ("picture", "image", "photo", "scene", "frame")}
    return table


GROUND_WORDS = {
    "grass": ("grass", "lawn", "meadow", "grassland", "a field of grass", "the field of grass"),
    "sand": ("sand", "beach", "desert", "sands"),
    "snow": ("snow",),
    "tiles": ("tiles", "checkerboard", "chessboard", "tile floor", "tile", "tiling", "chess board", "checker board"),
    "wood": ("wood", "floorboards", "planks", "boards", "floorboard", "plank", "parquet", "wood floor", "floor boards"),
}
GROUND_ADJECTIVES = {  # they say a ground, but not before a solid: "a wooden box"
    "grass": ("grassy",),
    "sand": ("sandy",),
    "snow": ("snowy", "snow-covered", "snowy white"),
    "tiles": ("tiled", "checkered", "chequered", "checked", "checkerboarded"),
    "wood": ("wooden", "wood"),
}
SKY_WORDS = {
    "day": (
        "sunny", "daylight", "noon", "midday", "afternoon", "morning", "sunshine", "sunlight", "sun", "sunlit",
        "blue sky", "clear sky", "bright day", "bright light", "in the light", "sunny day", "bright sky", "bright sun",
    ),
    "overcast": (
        "overcast", "cloudy", "grey sky", "gray sky", "under clouds", "clouds", "cloudy day", "grey day", "gray day",
        "cloudy sky", "grey clouds", "gray clouds", "grey skies", "gray skies",
    ),
    "sunset": (
        "sunset", "evening", "dusk", "dawn", "sunrise", "twilight", "golden hour", "sun is setting", "sun sets",
        "orange sky", "red sky", "pink sky", "sun goes down", "sun is going down", "setting sun", "evening sky",
        "sun is rising", "rising sun", "sun is low", "low sun", "evening sun", "morning glow", "sundown",
    ),
    "night": (
        "night", "midnight", "moonlight", "moonlit", "darkness", "in the dark", "night time", "nighttime", "nite",
        "black sky", "dark sky", "night sky", "moon", "it is dark", "tonight", "is dark", "night-time",
    ),
}  # fmt: skip

ITEMS: dict[tuple[str, ...], Item] = {}
KNOWN: set[str] = set()
PHRASES_OF_ONE: set[str] = set()
ITEMS.update(_table())
KNOWN.update(word for phrase in ITEMS for word in phrase)
PHRASES_OF_ONE.update(word for word in KNOWN if "-" in word)
LENGTHS = sorted({len(phrase) for phrase in ITEMS}, reverse=True)
CONTENT = sorted(
    phrase[0] for phrase, item in ITEMS.items() if len(phrase) == 1 and len(phrase[0]) > 3 and item.kind in CORRECTABLE
)


@lru_cache(maxsize=4096)
def corrected(word: str) -> str | None:
    """The word of the world that is nearly spelled so, or None."""
    if not 4 <= len(word) <= 20 or word.endswith("ing"):
        return None
    return next(iter(get_close_matches(word, CONTENT, 1, SIMILAR)), None)


def items(words: list[str]) -> list[Item]:
    """What a text's words say, in their order; see `split_words`."""
    words = words[:LONGEST]
    parsed: list[Item] = []
    k = compared = 0
    while k < len(words):
        for n in LENGTHS:
            item = ITEMS.get(tuple(words[k : k + n])) if k + n <= len(words) else None
            if item is not None:
                break
        else:
            n, item = 1, _single(words[k], compared < CORRECTED)
            compared += item.kind == "unknown"
        parsed.append(Item(item.kind, item.value, item.attribute, k, k + n, item.plural))
        k += n
    return [part for at, item in enumerate(parsed) for part in _with_noun(item, words, parsed[at + 1 : at + 2])]


def _with_noun(item: Item, words: list[str], then: list[Item]) -> list[Item]:
    """ "the two" points back to two solids alone, and not in "the two green cubes"."""
    if item.kind == "pronoun" and words[item.end - 1] == "two" and then and then[0].kind in ("adjective", "noun"):
        return [Item("article", "the", start=item.start, end=item.end - 1), ITEMS[("two",)]]
    return [item]


def _single(word: str, compare: bool) -> Item:
    if word.isdigit():
        return Item("number", int(word) if len(word) < 4 else 1000)
    near = corrected(word) if compare else None
    return ITEMS[(near,)] if near else Item("unknown")
