from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.engine.engine import Engine


@pytest.fixture
def engines() -> Iterator[Callable[..., Engine]]:
    """Starts engines, waits until they are ready, and closes them after the test."""
    started: list[Engine] = []

    def start(backbone: Any = "exact", wait: bool = True, **settings: Any) -> Engine:
        engine = Engine(backbone, **settings)
        started.append(engine)
        assert not wait or engine.wait(30), engine.status
        return engine

    yield start
    for engine in started:
        engine.close()
        assert engine._thread is not None and not engine._thread.is_alive()
