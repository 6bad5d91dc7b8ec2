"""What the examples of the first view begin with, in small: `python -m tools.given_images`.

Written to app/assets/given/<method>.webp, to stand beside app/assets/examples/<method>.webp on a tile: the image, map
or observation that the example of the method is given, with its mask or boxes drawn over it; of an edit of a prompt's
image, the image before. To be done again when examples change: tests/app/forms/test_tiles.py says so.
"""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from app.catalog.tasks import TASKS
from app.forms.examples import Example, example
from app.forms.tiles import GIVEN
from app.schema.method_inputs import DegradationValue, hashes
from app.service.models import Model
from app.theme import ASSETS
from common.colours import HUES

SIZE = 256  # pixels, of boxes with words
VEIL = (246, 245, 242)  # over what is masked


def given(name: str, model: Model) -> Image.Image | None:
    """What the example of a method begins with; None where that is the prompt alone."""
    made = example(name, model.default_size())
    values = made.card.inputs
    operator = next((one for one in values.values() if isinstance(one, DegradationValue)), None)
    if operator is not None:
        return _observation(name, made, model)
    boxes = next((value for value in values.values() if isinstance(value, tuple) and hasattr(value[0], "left")), None)
    if boxes is not None:
        return _boxes(boxes)
    images = {key: made.images[value] for key, value in values.items() if value in made.images}
    mask = images.pop("mask", None)
    image = next(iter(images.values()), None)
    if image is not None:
        return image if mask is None else _masked(image, mask)
    before = next((value for key, value in values.items() if "source" in key and isinstance(value, str)), None)
    return None if before is None else _of_prompt(before, made, model)


def _observation(name: str, made: Example, model: Model) -> Image.Image:
    from app.engine.observation_preview import preview
    from app.forms.stack import Stack
    from app.schema.recipe import Recipe

    recipe = Recipe.make(**made.settings, backbone=model.id, methods=Stack(cards=(made.card,)).uses)
    return preview(recipe, _backbone(model), {sha: made.images[sha] for sha in hashes(recipe.methods)})[0]


def _masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """With a hole where something is to be painted."""
    return Image.composite(Image.new("RGB", image.size, VEIL), image.convert("RGB"), mask.convert("L"))


def _boxes(boxes: Any) -> Image.Image:
    """On nothing, so that they stand on light and on dark."""
    sheet = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(ASSETS / "fonts" / "DejaVuSans.ttf", 24)
    for box, family in zip(boxes, ("guidance", "repurposing", "blending")):
        colour = HUES[family][0]
        left, top, right, bottom = (round(part * SIZE) for part in (box.left, box.top, box.right, box.bottom))
        pen.rectangle((left, top, right, bottom), outline=colour, width=6)
        words = box.text.removeprefix("a ").rpartition(" ")[0].replace(" ", "\n") + "\n" + box.text.rpartition(" ")[2]
        pen.multiline_text((left, bottom + 4), words, fill=colour, font=font, spacing=1)
    return sheet


def _of_prompt(prompt: str, made: Example, model: Model) -> Image.Image:
    """What the same settings make of the prompt before the edit."""
    from app.engine.events import Finished
    from app.schema.recipe import Recipe
    from tools.example_images import SEED

    recipe = Recipe.make(**{"seed": SEED, **made.settings, "prompt": prompt, "backbone": model.id})
    engine = model.engine()
    assert engine is not None, model.trouble
    for event in engine.submit(recipe):
        if isinstance(event, Finished):
            return event.images[0]
    raise RuntimeError(f"{prompt}: no image was made")


def _backbone(model: Model) -> Any:
    engine = model.engine()
    if engine is None or not engine.wait(300):
        raise RuntimeError(model.trouble)
    return engine.backbone


def take() -> None:
    """Of every tile that shows an image."""
    model = Model("still-life")
    GIVEN.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        image = None if task.given else given(task.example, model)
        if image is not None:
            image.save(GIVEN / f"{task.example}.webp", quality=88, method=6)
            print(task.example, image.size)


if __name__ == "__main__":
    take()
