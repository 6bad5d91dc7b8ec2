"""Which networks stay in memory: those that fit. Before one is loaded, those that were not used for longest make room.

What a network takes is known from the headers of its weights (`backbones.footprint`), what is free is asked of the
machine (`backbones.memory`). One in use, with a run under way or waiting, is never unloaded: a network for which there
is no room beside it waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.engine.engine import Engine
    from backbones.footprint import Footprint

log = logging.getLogger(__name__)
TINY = 500_000_000  # bytes: what takes no more stays, for unloading it would help nobody
LOOK = 0.25  # seconds until it is looked again whether what is in use is done


class ModelMemory:
    """The engines of a process whose networks share its memory. For any thread."""

    def __init__(self) -> None:
        self._engines: list[Engine] = []
        self._promised: dict[Engine, Footprint] = {}  # to those that are being loaded
        self._lock = threading.Lock()

    def engine(self, place: str, name: str) -> Engine:
        """A new engine; `name`: what its network is called in recipes. Imports torch."""
        from app.engine.engine import Engine

        made = Engine(place, name=name, make_room=self.make_room)
        with self._lock:
            self._engines.append(made)
        return made

    def make_room(self, engine: Engine, needed: Footprint) -> None:
        """Unloads idle networks, the least recently used first, until this one fits; waits for those in use. Where that
        does not do, it is loaded all the same: offloading and the system's own memory are left."""
        from backbones.memory import GIGABYTE

        gone: list[str] = []
        try:
            while not engine.closing:
                with self._lock:
                    if self._free(engine, needed) >= needed.total:
                        self._promised[engine] = needed
                        break
                    others = [one for one in self._engines if one is not engine and self._counts(one, needed)]
                    if (unloaded := self._unload_one(others, engine.name)) is not None:
                        gone.append(unloaded)
                        continue
                    in_use = [one.name for one in others if one.needs is not None]
                if not in_use:
                    log.warning("%s takes %.1f GB, and less is free", engine.name, needed.total / GIGABYTE)
                    break
                engine.waits_for_room = True
                engine.status = f"Waiting for memory that {', '.join(in_use)} has in use"
                time.sleep(LOOK)
        finally:
            engine.waits_for_room = False
        unloaded_words = f" ({', '.join(gone)} unloaded to make room)" if gone else ""
        engine.status = f"Loading the model{unloaded_words}"

    def _unload_one(self, engines: list[Engine], name: str) -> str | None:
        """The name of the one that was unloaded: of those that are idle, the least recently used."""
        for one in sorted((one for one in engines if one.idle), key=lambda one: one.used):
            if one.unload(f"Unloaded to make room for {name}"):
                return one.name
        return None

    def _free(self, engine: Engine, needed: Footprint) -> int:
        """Bytes on its device, without what is promised to others that have not taken it yet."""
        from backbones.memory import free

        self._promised = {one: what for one, what in self._promised.items()
                          if one is not engine and one.needs is not None and one.backbone is None}  # fmt: skip
        return free(needed.device) - sum(one.total for one in self._promised.values() if one.device == needed.device)

    def _counts(self, engine: Engine, needed: Footprint) -> bool:
        """Whether another engine holds, or will hold, memory that would help."""
        return engine.needs is not None and engine.needs.device == needed.device and engine.needs.total > TINY


