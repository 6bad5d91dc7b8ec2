"""The words of this world: what each solid, attribute, ground, sky, place and relation is called.

The usual word comes first. A word of a phrase is what the tokenizer of training/text.py takes for one: letters, a
digit, or a mark.
"""

from __future__ import annotations

from collections.abc import Iterable

from world.scene import COLOURS

NOUNS = {  # one, several
    "sphere": (("sphere", "spheres"), ("ball", "balls"), ("orb", "orbs"), ("globe", "globes")),
    "cube": (("cube", "cubes"), ("box", "boxes"), ("block", "blocks")),
    "cylinder": (
        ("cylinder", "cylinders"),
        ("column", "columns"),
        ("pillar", "pillars"),
        ("pole", "poles"),
        ("tube", "tubes"),
    ),
    "cone": (("cone", "cones"),),
    "torus": (
        ("torus", "toruses"),
        ("ring", "rings"),
        ("donut", "donuts"),
        ("doughnut", "doughnuts"),
        ("hoop", "hoops"),
    ),
    "pyramid": (("pyramid", "pyramids"),),
}
ADJECTIVES: dict[str, dict[str, tuple[str, ...]]] = {
    "size": {
        "small": ("small", "little", "tiny", "mini"),
        "large": ("large", "big", "huge", "giant"),
    },
    "material": {
        "matte": ("matte", "matt", "dull", "plain"),
        "metal": ("metal", "metallic", "shiny", "polished"),
    },
    "colour": {colour: (colour,) for colour in COLOURS} | {"grey": ("grey", "gray")},
}
NUMBERS = {
    2: ("two", "2", "a pair of", "a couple of"),
    3: ("three", "3"),
    4: ("four", "4"),
}
RELATIONS = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "front": ("in front of",),
    "behind": ("behind",),
    "next": ("next to", "beside", "near", "close to"),
    "far": ("far from", "far away from"),
}
PLACES = {
    "left": ("on the left", "to the left", "at the left", "on the left side"),
    "right": ("on the right", "to the right", "at the right", "on the right side"),
    "middle": ("in the middle", "in the centre", "in the center"),
    "front": ("in the foreground", "in front", "at the front"),
    "back": ("in the background", "at the back", "in the back"),
}
GROUNDS = {  # phrases of a sentence
    "grass": (
        "on grass", "on the grass", "in the grass", "on a lawn", "on the lawn", "on a meadow", "in a meadow",
        "on green grass",
    ),
    "sand": (
        "on sand", "on the sand", "on a beach", "on the beach", "at the beach", "in the desert", "on sandy ground",
    ),
    "snow": ("on snow", "on the snow", "in the snow", "on snowy ground", "in a snowy field", "on white snow"),
    "tiles": (
        "on tiles", "on the tiles", "on a tiled floor", "on a tile floor", "on a checkered floor",
        "on a chequered floor", "on a checkerboard",
    ),
    "wood": (
        "on wood", "on a wooden floor", "on a wood floor", "on floorboards", "on wooden planks", "on planks",
        "on wooden boards", "on a wooden surface",
    ),
}  # fmt: skip
GROUND_TERMS = {  # alone, in a list
    "grass": ("grass", "lawn", "meadow", "green grass"),
    "sand": ("sand", "beach", "desert", "sandy ground"),
    "snow": ("snow", "snowy ground", "snowy field"),
    "tiles": ("tiles", "tiled floor", "checkered floor", "chequered floor"),
    "wood": ("wood", "wooden floor", "wood floor", "floorboards", "planks"),
}
GROUND_SENTENCES: dict[str, tuple[str, ...]] = {
    "grass": ("the ground is grass", "the ground is covered in grass", "there is grass on the ground"),
    "sand": ("the ground is sand", "the ground is covered in sand", "there is sand on the ground"),
    "snow": ("the ground is covered in snow", "there is snow on the ground", "it is snowy"),
    "tiles": ("the floor is tiled", "the floor is made of tiles", "the floor is checkered"),
    "wood": ("the floor is wood", "the floor is made of wood", "the floor is wooden"),
}
SKIES = {
    "day": (
        "by day", "on a sunny day", "in daylight", "at noon", "at midday", "on a bright day", "in the sun",
        "in bright sunshine", "under a blue sky", "in the afternoon", "in the morning",
    ),
    "overcast": (
        "under an overcast sky", "on an overcast day", "under a cloudy sky", "on a cloudy day", "under a grey sky",
        "under a gray sky", "under clouds",
    ),
    "sunset": (
        "at sunset", "in the evening", "at dusk", "at dawn", "at sunrise", "in evening light", "under an orange sky",
        "at twilight",
    ),
    "night": (
        "at night", "by night", "at midnight", "in the dark", "in the moonlight", "in darkness", "under a dark sky",
        "under a black sky",
    ),
}  # fmt: skip
SKY_TERMS = {
    "day": ("day", "daylight", "sunny", "sunny day", "noon", "daytime", "bright sun"),
    "overcast": ("overcast", "cloudy", "grey sky", "cloudy sky", "gray sky"),
    "sunset": ("sunset", "evening", "dusk", "dawn", "evening light"),
    "night": ("night", "midnight", "dark", "night time", "moonlight"),
}
SKY_SENTENCES = {
    "day": ("it is day", "it is a sunny day", "it is sunny", "the sky is blue", "it is noon", "the sun is shining"),
    "overcast": ("it is cloudy", "it is overcast", "the sky is grey", "the sky is gray", "it is a cloudy day"),
    "sunset": ("it is evening", "the sun is setting", "the sky is orange", "it is dusk", "it is dawn"),
    "night": ("it is night", "it is dark", "the sky is black", "it is midnight", "it is night time"),
}
OPENINGS = (
    "there is", "a picture of", "a photo of", "an image of", "a scene with", "a drawing of", "draw", "show me",
    "i want", "i see", "here is", "please paint", "a render of", "a view of", "just", "only", "can you draw", "this is",
)  # fmt: skip
OF_SEVERAL = "there are"
THINGS = ("things", "objects", "shapes", "solids")
VERBS = {"is": "are", "stands": "stand", "sits": "sit", "lies": "lie", "rests": "rest"}  # of one, of several
# Words of sentences that stand in no table.
GLUE = (
    ", . ; : + and or but no without any nothing else with it its both all them one the other another a an that which "
    "there here in on at of to from right left between side by next each picture image very far standing ground floor "
    "sky time light background"
)


def words_of(*phrases: str | Iterable[str]) -> frozenset[str]:
    """The words of phrases, and of lists of phrases."""
    lists = [[group] if isinstance(group, str) else group for group in phrases]
    return frozenset(word for group in lists for phrase in group for word in phrase.split())


VOCABULARY = words_of(
    *(pair for pairs in NOUNS.values() for pair in pairs),
    *(words for values in ADJECTIVES.values() for words in values.values()),
    *(
        phrases
        for table in (
            NUMBERS, RELATIONS, PLACES, GROUNDS, GROUND_TERMS, GROUND_SENTENCES, SKIES, SKY_TERMS, SKY_SENTENCES,
        )
        for phrases in table.values()
    ),
    OPENINGS,
    OF_SEVERAL,
    THINGS,
    VERBS,
    VERBS.values(),
    GLUE,
)  # fmt: skip
