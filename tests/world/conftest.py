from collections.abc import Callable
from functools import cache

import pytest

from world.scene import Scene, draw


@cache
def _drawn(split: str, n: int) -> Scene:
    return draw(split, n)


@pytest.fixture(scope="session")
def drawn() -> Callable[[str, int], list[Scene]]:
    """drawn(split, count): its first scenes, each drawn once for all tests."""
    return lambda split, count: [_drawn(split, n) for n in range(count)]
