"""What the pages share on one machine: the networks, the history, the images on their way in.

Nothing here imports torch. The engines come up in threads while the page is already being served.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from app.errors import BeingFetched, NotLoaded, error_message
from app.schema.method_inputs import hashes
from app.schema.recipe import LIMITS, Recipe, random_seed
from app.service.live_runs import LiveRun, LiveRuns
from app.service.memory import ModelMemory
from app.service.models import Model, present
from app.service.visits import Visits
from app.storage.image_files import ImageError, content_hash, open_upload
from app.storage.image_history import History, HistoryError
from app.storage.signing_key import signing_key
from app.trajectory.store import TrajectoryStore

if TYPE_CHECKING:
    from app.engine.engine import Engine
    from app.service.reading import Request
    from app.service.runs import Runs

LOADING = 300.0  # seconds that a run waits for its network
DRAFTS = 128 * 2**20  # bytes of images that were given and not used yet


@dataclass(frozen=True)
class Saved:
    """An image of the history: its id and its address on the server; "" where it is not there, then `trouble` says
    why."""

    id: str
    address: str
    trouble: str = ""


class AppState:
    """One a process. Cheap to make; `start` brings the first network up in the background."""

    def __init__(self, backbone: str | None = None, history: History | None = None):
        chosen = [backbone] if backbone else []
        memory = ModelMemory()
        made = (Model(place, memory) for place in dict.fromkeys([*chosen, *present()]))
        self.models = {model.id: model for model in made}
        self.id = next(iter(self.models))  # of the network to begin with
        self.history = history or History()
        self.live_runs: LiveRuns[LiveRun] = LiveRuns()
        self.live_trajectories: LiveRuns[Any] = LiveRuns()
        self.live: dict[str, Any] = {}  # session -> what else is under way: attention maps
        self.comparisons: dict[str, Any] = {}  # id -> comparison, running or looked at lately
        self.trajectories = TrajectoryStore(self.history.folder / "trajectories")
        self.followed: dict[str, Any] = {}  # id -> the latest of them in memory, for their maps of attention
        self._key = signing_key(self.history.folder)
        self.visits = Visits(self.sign)
        self._drafts: OrderedDict[str, tuple[Image.Image, set[str]]] = OrderedDict()  # sha -> image, doors
        self._lock = threading.Lock()

    # networks -----------------------------------------------------------------------------------------------------

    def model(self, id: Any = None) -> Model:
        """The network of this id, or the first one."""
        return self.models.get(str(id), self.models[self.id])

    def same(self, recipe: Recipe) -> str | None:
        """The id of the network that made an image: of its name here, or of its weights under another name."""
        if recipe.backbone in self.models:
            return recipe.backbone
        revisions = {getattr(model.backbone, "revision", ""): id for id, model in self.models.items()}
        return revisions.get(recipe.revision) if recipe.revision else None

    def start(self) -> AppState:
        """Load the first network in a thread. Calling it again does nothing."""
        self.model().start()
        return self

    @property
    def choices(self) -> list[tuple[str, str]]:
        """(name, id) of every network."""
        return [(model.name, id) for id, model in self.models.items()]

    def engine(self, id: str) -> Engine:
        """The engine of a network, loaded. Raises NotLoaded where it cannot be, or takes too long."""
        if id not in self.models:
            raise NotLoaded(f"Model {id} is not here. There is: {', '.join(self.models)}.")
        model = self.models[id]
        engine = model.engine(LOADING)
        there = engine is not None and engine.wait(LOADING)
        while engine is not None and not there and engine.waits_for_room:  # its turn comes when the others are done
            there = engine.wait(LOADING)
        if engine is None or not there:
            raise NotLoaded(model.trouble or f"{model.name} is still being loaded. Try again in a minute.")
        return engine

    # runs ---------------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> Runs:
        """Checks, runs and comparisons on the networks of this page; the first access imports torch."""
        from app.service.checking import known_backbone
        from app.service.runs import Runs

        def known(id: str) -> Any:
            model = self.models[id]
            try:
                return model.backbone or outline(id)
            except OSError as error:
                if model.on_the_hub and model.state()[0] == "loading":
                    raise BeingFetched(f"{model.name} is not here yet: {model.status}") from error
                raise

        def outline(id: str) -> Any:
            return known_backbone(self.models[id].place, id)

        return Runs(self.engine, tuple(self.models), known, outline)

    def request(self, recipe: Recipe, visit_token: str = "", keep: bool = False) -> Request:
        """A recipe with the images that its methods need, as far as this visit may see them. keep: in the history from
        now on."""
        from app.service.reading import Request

        find = self.keep if keep else self.image
        images = {sha: image for sha in hashes(recipe.methods) if (image := find(sha, visit_token)) is not None}
        return Request(recipe, images)

    def save(self, image: Image.Image, recipe: Recipe) -> Saved:
        """Into the history; where it cannot be kept (a full disk), why."""
        try:
            entry = self.history.add(image, recipe)
        except Exception as error:
            return Saved("", "", error_message(error))
        return Saved(str(entry.id), self.address(entry.id))

    # images that methods are given --------------------------------------------------------------------------------

    def visit_token(self, session: str | None) -> str:
        """The key of a visit, which its page knows: who has it gives images, and in private sees those it gave."""
        return self.visits.token(session)

    def knows_visit(self, visit_token: str) -> bool:
        """Whether this server gave that key to a visit."""
        return self.visits.known(visit_token)

    def take(self, image: Image.Image, visit_token: str = "") -> str:
        """Holds an image until a run uses it, and gives the hash that stands for it; the oldest make room.

        door: of the visit that gave it; "" for what anyone may see, such as an image of an example.
        """
        name = content_hash(image)
        with self._lock:
            _, visit_tokens = self._drafts.get(name, (None, set()))
            self._drafts[name] = image.convert("RGB"), visit_tokens | {visit_token}
            self._drafts.move_to_end(name)
            while len(self._drafts) > 1 and sum(3 * p.width * p.height for p, _ in self._drafts.values()) > DRAFTS:
                self._drafts.popitem(last=False)
        return name

    def image(self, sha: str, visit_token: str = "") -> Image.Image | None:
        """The image of this hash, None where it never was here, has been forgotten or, in private, is another's."""
        with self._lock:
            image, visit_tokens = self._drafts.get(sha, (None, set()))
            if image is not None and (not private() or visit_tokens & {"", visit_token}):
                self._drafts.move_to_end(sha)
                return image
        return None if private() else self.history.input(sha)

    def keep(self, sha: str, visit_token: str = "") -> Image.Image | None:
        """The image of this hash, from now on kept with the history, so that its recipe works tomorrow.

        In private it stays in memory: after the visit nobody may see it.
        """
        image = self.image(sha, visit_token)
        if image is not None and not private():
            try:
                self.history.keep_input(image)
            except HistoryError:  # a full disk: the run can still be made
                pass
        return image

    def receive(self, data: bytes, visit_token: str = "") -> dict[str, Any]:
        """An upload -> {"sha256", "width", "height", "notes", "settings"}, or {"error"} in words."""
        from app.service.reading import settings_in

        try:
            upload = open_upload(data)
        except ImageError as error:
            return {"error": str(error)}
        image = upload.image
        largest = int(LIMITS["width"].high)
        image.thumbnail((largest, largest))
        width, height = image.size
        found = {"sha256": self.take(image, visit_token), "width": width, "height": height, "notes": list(upload.notes)}
        settings = settings_in(upload.parameters)
        return found | ({"settings": settings} if settings else {})

    # addresses ----------------------------------------------------------------------------------------------------

    def address(self, entry_id: Any) -> str:
        """Where the page finds a kept image; signed, so that nobody can walk through the numbers."""
        return f"pictures/{entry_id}/{self.sign(str(entry_id))}.png"

    def sign(self, words: str) -> str:
        """A signature that only this process can give."""
        return hmac.new(self._key, words.encode(), hashlib.sha256).hexdigest()[:24]

    def signed(self, words: str, signature: str) -> bool:
        """Whether this process gave that signature to these words."""
        return signature.isascii() and hmac.compare_digest(signature, self.sign(words))

    def entry(self, entry_id: Any) -> Any:
        """The entry of this id as it comes from a page, or None."""
        try:
            return self.history.get(int(entry_id))
        except (TypeError, ValueError, OverflowError, HistoryError):
            return None


def private() -> bool:
    """On a public Space everyone sees the images of their own visit only."""
    usual = "private" if os.environ.get("SYSTEM") == "spaces" else "shared"
    return os.environ.get("NINE_WAYS_HISTORY", usual) == "private"


def seeded(recipe: Recipe, drawn: Collection[str]) -> Recipe:
    """The recipe with seeds that nobody chose, for those of these fields ("seed", "variation_seed") that act."""
    names = [name for name in drawn if name == "seed" or recipe.variation_strength]
    return recipe.but(**{name: random_seed() for name in names}) if names else recipe


def waiting(model: Model, patience: float = 300) -> Iterator[str]:
    """Words to show until the network is there, or cannot be: see `Model.trouble`. patience: seconds in which nothing
    is heard of it; a download goes on for as long as bytes come."""
    until, heard = time.monotonic() + patience, ""
    while not model.ready(0.25) and not model.trouble and time.monotonic() < until:
        if model.status != heard or model.waits_for_room:
            until, heard = time.monotonic() + patience, model.status
        yield model.state()[1]
