"""The networks one can choose from: each is loaded when it is first asked for, and runs in a thread of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.service.memory import ModelMemory
from backbones.embedded import EMBEDDED, Embedded
from backbones.names import hub_file, hub_place, name_of

if TYPE_CHECKING:
    from app.engine.engine import Engine


ON_A_GPU = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # what a Space with a GPU begins with
GPU = Path("/dev/nvidia0")


class Model:
    """One network. Cheap to make; `start` brings its engine up in the background."""

    def __init__(self, place: str, memory: ModelMemory | None = None):
        """place: what `backbones.load` takes; `id` is what it is called in recipes. memory: that it shares with others;
        None: it has one of its own."""
        self.memory = memory or ModelMemory()
        self.place, self.id = place, name_of(place)
        self.declared = EMBEDDED.get(place) or Embedded(self.id, None, 128)
        self.name = self.declared.name
        self._trouble = ""  # why there is no engine, in words
        self._engine: Engine | None = None
        self._wordless: bool | None = None
        self._there = threading.Event()
        self._begun = time.monotonic()
        self._starting = threading.Lock()

    def start(self) -> Model:
        """Load the network in a thread, or again where it was unloaded. Else calling it again does nothing."""
        with self._starting:
            if self._engine is not None and self._engine.unloaded:
                self._begun = time.monotonic()
                self._engine.load()
            if not hasattr(self, "_thread"):
                self._begun = time.monotonic()
                self._thread = threading.Thread(target=self._load, name=f"load {self.id}", daemon=True)
                self._thread.start()
        return self

    def _load(self) -> None:
        try:
            self._engine = self.memory.engine(self.place, self.id)  # imports torch: seconds
        except Exception as error:
            self._trouble = f"The model {self.name} could not be loaded: {error}"
        finally:
            self._there.set()

    def engine(self, seconds: float | None = None) -> Engine | None:
        """The engine, waited for at most so long; None where it is not there (yet): see `trouble`."""
        if self._engine is None:
            self.start()
        self._there.wait(seconds)
        return self._engine

    def ready(self, seconds: float) -> bool:
        """Whether the network is loaded, waited for at most so long."""
        engine = self.engine(seconds)
        return engine is not None and engine.wait(seconds)

    @property
    def trouble(self) -> str:
        """Why there is no network, in words; "" where there is one, or one may still come."""
        return self._trouble or (self._engine is not None and self._engine.trouble) or ""

    @property
    def backbone(self) -> Any:
        """The loaded network, or None."""
        return self._engine.backbone if self._engine is not None else None

    def state(self) -> tuple[str, str]:
        """("loading" | "ready" | "failed" | "unloaded", words)"""
        if self.backbone is None and self.trouble:
            return "failed", self.trouble
        if self.backbone is None and self._engine is not None and self._engine.unloaded:
            return "unloaded", f"{self._engine.unloaded}; it is loaded again when it is used"
        if self.backbone is None:
            return "loading", f"{self.status} · {time.monotonic() - self._begun:.0f} s"
        return "ready", self._engine.status if self._engine is not None else "ready"

    @property
    def status(self) -> str:
        """What is done for it, in words."""
        return self._engine.status if self._engine is not None else "loading"

    @property
    def waits_for_room(self) -> bool:
        """Whether it is loaded once others have given back the memory that they have in use."""
        return self._engine is not None and self._engine.waits_for_room

    @property
    def on_the_hub(self) -> bool:
        """Whether it comes from the Hugging Face Hub, where it is not here yet."""
        try:
            return self.place not in EMBEDDED and bool(hub_file(self.place.partition("?")[0]) or hub_place(self.place))
        except OSError:  # no address of a checkpoint
            return False

    def default_size(self) -> int:
        """In pixels; before the network is there, what is declared of it."""
        return int(getattr(self.backbone, "default_size", self.declared.default_size))

    def made_for(self) -> dict[str, Any]:
        """Fields of a recipe that the network was made for, as far as they are known; {} before it is there."""
        if self.backbone is None:
            return {}
        from app.engine.model_settings import model_settings

        known = model_settings(self.backbone)
        return known.values if known is not None else {}

    def may(self, needs: Collection[str]) -> bool:
        """Whether it has what methods need (`conditioning.registry.NEEDS`), as far as that is known before loading."""
        if self.backbone is not None:
            return set(needs) <= set(getattr(self.backbone, "offers", ()))
        return ("pixels" in needs) is self.declared.in_pixels

    @property
    def wordless(self) -> bool:
        """Whether it reads no prompt at all, as far as that is known."""
        if self._wordless is None and self.backbone is not None:
            self._wordless = not self.backbone.encode_prompt([""])
        return self._wordless is True

    def unknown(self, text: str) -> list[tuple[str, str]]:
        """Words of a prompt outside the network's vocabulary, each with the nearest known one or ''."""
        backbone = self.backbone
        if backbone is None or not text.strip() or self.wordless:
            return []
        words = list(dict.fromkeys(backbone.unknown_words(text)))
        if not words:
            return []
        from world.understanding import nearest

        known = vocabulary(backbone)
        return [(word, nearest(word, known)) for word in words]


def gpu_space() -> bool:
    """Whether this is a Hugging Face Space with a GPU of its own. On ZeroGPU there is none outside of its calls."""
    on_space = os.environ.get("SYSTEM") == "spaces" and os.environ.get("SPACES_ZERO_GPU") != "true"
    return on_space and GPU.exists()


def present() -> list[str]:
    """The networks that can be chosen here, as `backbones.load` takes them, the first of them to begin with: of
    `NINE_WAYS_BACKBONE`, else a checkpoint for any words where a GPU Space can run it, else Still Life."""
    first = os.environ.get("NINE_WAYS_BACKBONE") or (ON_A_GPU if gpu_space() else "still-life")
    return list(dict.fromkeys([first, *(id for id, one in EMBEDDED.items() if one.present)]))


def vocabulary(backbone: Any) -> frozenset[str]:
    """The words of the embedded world that a network was trained on: all of them, those of the plain captions, or none
    where it is a network of other images."""
    from world.captions import PLAIN_VOCABULARY
    from world.vocabulary import VOCABULARY

    lists = (VOCABULARY, PLAIN_VOCABULARY)
    return next((words for words in lists if not backbone.unknown_words(" ".join(sorted(words)))), frozenset())
