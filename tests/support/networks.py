"""The embedded networks, each read once a process: reading Still Life takes a second or two."""

from functools import cache

import backbones
from backbones.base import Backbone
from backbones.embedded import EMBEDDED
from backbones.outline import outline
from conditioning.registry import METHODS


@cache
def embedded(id: str) -> Backbone:
    """By its id. For tests that ask it and change nothing of it."""
    return backbones.load(id)


def with_an_example() -> list[str]:
    """The methods, but for cfg, that a network of the program runs; the others want a checkpoint of one's own."""
    offered = [outline(id).offers for id, one in EMBEDDED.items() if one.folder]
    runs = {name for name, one in METHODS.items() if any(set(one.needs) <= own for own in offered)}
    return sorted(runs - {"cfg"})
