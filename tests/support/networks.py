"""The embedded networks, each read once a process: reading Still Life takes a second or two."""

from functools import cache

import backbones
from backbones.base import Backbone


@cache
def embedded(id: str) -> Backbone:
    """By its id. For tests that ask it and change nothing of it."""
    return backbones.load(id)
