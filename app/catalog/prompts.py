"""Prompts to begin with."""

import random

EXAMPLES = (
    "a large red sphere to the left of a small blue cube on grass at sunset",
    "a shiny yellow torus in front of a green cylinder on snow",
    "a big blue cone behind a little white cube on sand under an overcast sky",
    "a small purple pyramid on wood at night",
)


def surprise() -> str:
    """A random true caption of the world."""
    try:
        from world import captions

        return captions.random_caption(random.randrange(1_000_000))
    except ImportError:
        return random.choice(EXAMPLES)
