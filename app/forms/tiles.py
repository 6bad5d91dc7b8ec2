"""The tasks as tiles: what is given beside what comes of it, a click away. For the empty stage and the picker."""

from __future__ import annotations

from html import escape
from pathlib import Path

from app import theme
from app.catalog.tasks import TASKS, Task
from app.forms.example_recipes import SHOWN

ASSETS = theme.ASSETS
RESULTS = ASSETS / "examples"  # written by tools.example_images
GIVEN = ASSETS / "given"  # written by tools.given_images


def board() -> str:
    """All tiles, as HTML."""
    return f'<ul class="nw-tiles">{"".join(map(_tile, TASKS))}</ul>'


def _tile(task: Task) -> str:
    click = (
        f'data-act="example" data-text="{escape(task.prompt)}"'
        if task.prompt
        else f'data-act="attempt" data-name="{task.methods[0]}" data-alone="yes"'
    )
    wide = "" if task.prompt or SHOWN[task.example].width == 1 else " data-wide"
    return (
        f'<li{wide}><button type="button" class="nw-tile" data-task="{task.key}" {click}>'
        f'<span class="nw-tile-images">{_given(task)}{_image(RESULTS, task.example)}</span>'
        f"<b>{theme.glyph(task.family, 12)}{escape(task.title)}</b><span>{escape(task.summary)}</span></button></li>"
    )


def _given(task: Task) -> str:
    """What the example begins with: words, an image, or nothing."""
    if task.given:
        return f'<q class="nw-tile-words"><span>{escape(task.given)}</span></q>'
    return _image(GIVEN, task.example) if (GIVEN / f"{task.example}.webp").is_file() else ""


def _image(folder: Path, name: str) -> str:
    """Decoration: the words of the tile say what it is."""
    return f'<img alt="" loading="lazy" src="taxonomy/{folder.name}/{name}.webp">'
