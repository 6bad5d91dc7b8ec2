"""What each method makes of its one-click example, in small: `python -m tools.example_images [method ...]`.

Written to app/assets/examples/<method>.webp, for the tab "Taxonomy"; without names, of every method of the registry and
of the network itself. It runs what "Try it" runs, on the embedded networks, seed 3, the steps of a fresh page. To be
done again when the weights have changed. Each image is printed with its bytes, and at the end the sum of all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

from PIL import Image

from app.catalog.prompts import EXAMPLES as PROMPTS
from app.engine.events import Failed, Finished
from app.forms.stack import Stack
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import methods
from app.tabs.taxonomy_panels import EXAMPLES, TRAINED

SEED = 3
WIDEST = 256  # pixels, of what is kept: a panorama is three times as wide as it is high
ALL = 600_000  # bytes that the folder may have


def painted(state: AppState, name: str) -> Image.Image:
    """The example of a method, or the first prompt for a network. Raises RuntimeError with what the run said."""
    from app.forms.page_catalogue import catalogue

    settings: dict[str, Any] = {"prompt": PROMPTS[0], "backbone": state.id, "seed": SEED}
    stack = Stack()
    if name not in TRAINED and not catalogue()["methods"][name]["fixed"]:  # those are part of every run
        id, made, stack = methods.example(state, {"name": name, "alone": True}, {"backbone": state.id})
        settings = {**made.settings, "backbone": id, "seed": SEED}
    recipe = Recipe.make(**settings, methods=stack.uses)
    model = state.model(recipe.backbone)
    engine = model.engine()
    if engine is None:
        raise RuntimeError(model.trouble)
    inputs = {sha: state.image(sha) for use in recipe.methods for sha in use.hashes()}
    for event in engine.submit(recipe, inputs=inputs):
        if isinstance(event, Finished):
            return event.images[0]
        if isinstance(event, Failed):
            raise RuntimeError(str(event.reason))
    raise RuntimeError("it ended without an image")


def take(names: list[str]) -> None:
    """Paint and write them; one that fails is reported, and the others go on."""
    from app.forms.page_catalogue import catalogue

    known = [*TRAINED, *catalogue()["methods"]]
    strange = [name for name in names if name not in known]
    if strange:
        raise SystemExit(f"no method {', '.join(strange)}: give some of {', '.join(known)}")
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        state = AppState("still-life", History(folder))
        for name in names or known:
            began, path = time.monotonic(), EXAMPLES / f"{name}.webp"
            try:
                image = painted(state, name).convert("RGB")
            except Exception as error:
                print(f"{name}: {error}", flush=True)
                continue
            image.thumbnail((WIDEST, WIDEST))
            image.save(path, quality=88, method=6)
            print(f"{name}: {path.stat().st_size} bytes, {time.monotonic() - began:.0f} s", flush=True)
    total = sum(path.stat().st_size for path in EXAMPLES.glob("*.webp"))
    print(f"all: {total} bytes of at most {ALL}", flush=True)


if __name__ == "__main__":
    take(sys.argv[1:])
