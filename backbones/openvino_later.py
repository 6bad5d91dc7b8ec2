"""Large UNets on a CPU: torch answers at once, and OpenVINO, which takes half as long, as soon as it is ready.

Converting a network of Stable Diffusion 1.5's size and packing its weights takes some seconds, and memory for a further
copy of them: whether there is room for that is asked first (`engines.plan`). No step waits for it.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import torch

from backbones.engines import OpenVINOEngine, UNetGraph
from backbones.memory import page_out

log = logging.getLogger(__name__)


class UNet(Protocol):
    """`backbones.unet.UNet`, as far as it is asked here."""

    id: str
    called: Any

    def take(self, engine: OpenVINOEngine) -> None: ...


class OpenVINOLater:
    """Makes it in a thread; `take` hands it over between two runs, so that no image is made by two engines."""

    def __init__(self, folder: Path, network: UNet):
        self._folder, self._network = folder, network
        self._made: list[OpenVINOEngine] = []
        self.thread = threading.Thread(
            target=_make, args=(UNetGraph(network.called), self._made), daemon=True, name="conversion to OpenVINO"
        )
        self.thread.start()

    def take(self) -> bool:
        """Whether there is nothing more to wait for: OpenVINO answers plain asks from now on, or could not be had."""
        if self.thread.is_alive():
            return False
        for engine in self._made:
            self._network.take(engine)
            page_out(self._folder.rglob("*.safetensors"))
            log.info("%s: OpenVINO computes it from now on", self._network.id)
        return True


def _make(graph: Any, made: list[OpenVINOEngine]) -> None:
    try:
        with torch.no_grad():
            engine = OpenVINOEngine(graph, any_size=True)
            engine.run(*graph.example())  # packs the weights
        made.append(engine)
    except Exception as error:
        log.warning("OpenVINO cannot run this network (%s): torch goes on", error)
