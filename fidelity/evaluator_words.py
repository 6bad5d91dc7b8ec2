"""What the evaluator reads of an image, in words: beside figures that surprise."""

from __future__ import annotations

from collections import Counter

from torch import Tensor

from fidelity.target import Perception, Target


def seen(image: Tensor, target: Target, perception: Perception | None = None) -> str:
    """What the evaluator reads of an image (1, 3, H, W) of the rendered world, in words, and which solids are none by
    their form, for figures that surprise: a "0 %" beside an image that looks right. "" for images of other worlds, and
    where the prompt claims nothing."""
    if not target.world or not target.prompt:
        return ""
    from world import captions

    if not captions.parse(target.prompt).anything:
        return ""
    perception = perception or Perception(image)
    reading = perception.reading
    formed = perception.formed or (True,) * len(reading.solids)
    kinds = Counter(
        f"{one.size} {one.colour} {one.shape}{'' if well else ' (not well formed)'}"
        for one, well in zip(reading.solids, formed)
    )
    listed = ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in kinds.items())
    number = len(reading.solids)
    count = f"{number} solid{'' if number == 1 else 's'}" + (f": {listed}" if number else "")
    return f"The evaluator saw {count}; on {reading.ground}, {reading.sky}."
