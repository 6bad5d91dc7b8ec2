"""What the pages share on one machine: the engine that paints, the history that keeps, and what is known of them.

Nothing here imports torch. The engine comes up in a thread while the page is already being served.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.runs import History, HistoryError
from app.runs.recipe import Recipe, random_seed

if TYPE_CHECKING:
    from app.runs.engine import Engine

NAMES = {"still-life": "Still Life", "exact": "Gaussian mixture (exact)"}


class Studio:
    """One a process. Cheap to make; `start` brings the engine up in the background."""

    def __init__(self, backbone: str | None = None, history: History | None = None):
        self.id = backbone or os.environ.get("NINE_WAYS_BACKBONE") or "still-life"
        self.history = history or History()
        self._trouble = ""  # why there is no engine, in words
        self.live: dict[str, Any] = {}  # session -> the run under way
        self._engine: Engine | None = None
        self._there = threading.Event()
        self._begun = time.monotonic()
        self._key = secrets.token_bytes(16)
        self._starting = threading.Lock()

    # the engine ---------------------------------------------------------------------------------------------------

    def start(self) -> Studio:
        """Load the network in a thread. Calling it again does nothing."""
        with self._starting:
            if not hasattr(self, "_thread"):
                self._thread = threading.Thread(target=self._load, name="nine-ways-load", daemon=True)
                self._thread.start()
        return self

    def _load(self) -> None:
        try:
            from app.runs.engine import Engine  # imports torch: seconds

            self._engine = Engine(self.id)
        except Exception as error:
            self._trouble = f"The model {self.name} could not be loaded: {error}"
        finally:
            self._there.set()

    def engine(self, seconds: float | None = None) -> Engine | None:
        """The engine, waited for at most so long; None where it is not there (yet): see `trouble`."""
        self.start()
        self._there.wait(seconds)
        return self._engine

    @property
    def trouble(self) -> str:
        """Why there is no network, in words; "" where there is one, or one may still come."""
        return self._trouble or (self._engine is not None and self._engine.trouble) or ""

    @property
    def name(self) -> str:
        return NAMES.get(self.id, self.id)

    @property
    def backbone(self) -> Any:
        """The loaded network, or None."""
        return self._engine.backbone if self._engine is not None else None

    def state(self) -> tuple[str, str]:
        """("loading" | "ready" | "failed", words)"""
        if self.backbone is None and self.trouble:
            return "failed", self.trouble
        if self.backbone is None:
            status = self._engine.status if self._engine is not None else "loading"
            return "loading", f"{status} · {time.monotonic() - self._begun:.0f} s"
        return "ready", self._engine.status if self._engine is not None else "ready"

    def default_size(self) -> int:
        return int(getattr(self.backbone, "default_size", 128))

    # words --------------------------------------------------------------------------------------------------------

    def unknown(self, text: str) -> list[tuple[str, str]]:
        """Words of a prompt outside the network's vocabulary, each with the nearest known one or ''."""
        backbone = self.backbone
        if backbone is None or not text.strip():
            return []
        from difflib import get_close_matches

        words = list(dict.fromkeys(backbone.unknown_words(text)))
        known = vocabulary() if words and self.id == "still-life" else []
        return [(word, next(iter(get_close_matches(word.lower(), known, 1, 0.7)), "")) for word in words]

    # pictures -----------------------------------------------------------------------------------------------------

    def address(self, entry_id: Any) -> str:
        """Where the page finds a kept picture; signed, so that nobody can walk through the numbers."""
        return f"pictures/{entry_id}/{self._sign(str(entry_id))}.png"

    def _sign(self, entry_id: str) -> str:
        return hmac.new(self._key, entry_id.encode(), hashlib.sha256).hexdigest()[:24]

    def routes(self) -> list[Route]:
        """The one address beside Gradio's own: the kept picture files, bytes as they were written."""

        def picture(request: Request) -> Response:
            entry_id, sign = request.path_params["entry_id"], request.path_params["sign"]
            if not hmac.compare_digest(sign, self._sign(entry_id)):
                return PlainTextResponse("There is no such picture.", 404)
            entry = self.entry(entry_id)
            if entry is None or not os.path.isfile(entry.path):
                return PlainTextResponse("The picture is gone: its file was deleted.", 404)
            headers = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
            return FileResponse(entry.path, media_type="image/png", headers=headers)

        return [Route("/pictures/{entry_id}/{sign}.png", picture)]

    def entry(self, entry_id: Any) -> Any:
        """The entry of this id as it comes from a page, or None."""
        try:
            return self.history.get(int(entry_id))
        except (TypeError, ValueError, OverflowError, HistoryError):
            return None


def vocabulary() -> list[str]:
    """The words of the embedded world, for suggestions; [] where there is none."""
    try:
        from world.captions import VOCABULARY

        return sorted(VOCABULARY)
    except ImportError:
        return []


EXAMPLES = (
    "a large red sphere to the left of a small blue cube on grass at sunset",
    "a shiny yellow torus in front of a green cylinder on snow",
    "a big blue cone behind a little white cube on sand under an overcast sky",
    "a small purple pyramid on wood at night",
)


def surprise() -> str:
    """A random true caption of the world."""
    import random

    try:
        from world import captions

        return captions.surprise(random.randrange(1_000_000))
    except ImportError:
        return random.choice(EXAMPLES)


def private() -> bool:
    """On a public Space everyone sees the pictures of their own visit only."""
    usual = "private" if os.environ.get("SYSTEM") == "spaces" else "shared"
    return os.environ.get("NINE_WAYS_HISTORY", usual) == "private"


def seeded(recipe: Recipe, seed: Any) -> Recipe:
    """The recipe with a seed of its own where -1 (or nothing) was asked for."""
    return recipe.but(seed=random_seed() if seed is None or int(seed) < 0 else int(seed))


def waiting(studio: Studio, patience: float = 300) -> Iterator[str]:
    """Words to show until the engine object is there (the network itself may still load: runs queue)."""
    until = time.monotonic() + patience
    while studio.engine(0.25) is None and not studio.trouble and time.monotonic() < until:
        yield studio.state()[1]
