"""What an image is measured against, and what the perception models of the rendered world read of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from conditioning.inputs import Box
from conditioning.operators import Measurement


@dataclass(frozen=True, eq=False)
class Target:
    """The conditions of one generated image of H x W pixels, and its ground truth where there is one. Images and maps
    are (1, 3 or 1, H, W) in [0, 1]; None: not a condition of this image.

    prompt, source_prompt: of the image, and of its source where it is an edit. source: the image that was edited; mask:
    where it may change, 1 inside. edges, near: control maps (near: nearness, 1 at the nearest point). boxes: each with
    its words. observation: y = A x of the ground truth. colours: an image whose colour histogram is the target.
    references: images of the subject. text_score: of an image-text network, (images, text) -> (B,);
    text_score_problem: why it cannot read the prompt, if so; clip: the score of a CLIP (`fidelity.clip`). world:
    whether the image shows the rendered world. guided_by: keys of measures that the run itself optimised, which say
    nothing then.
    """

    prompt: str = ""
    source_prompt: str = ""
    source: Tensor | None = None
    mask: Tensor | None = None
    ground_truth: Tensor | None = None
    edges: Tensor | None = None
    near: Tensor | None = None
    boxes: Sequence[Box] = ()
    observation: Measurement | None = None
    colours: Tensor | None = None
    references: Sequence[Tensor] = ()
    text_score: Callable[[Tensor, str], Tensor] | None = None
    text_score_problem: str = ""
    clip: Callable[[Tensor, str], Tensor] | None = None
    world: bool = False
    guided_by: frozenset[str] = frozenset()


class Perception:
    """What the perception models of the world read of an image, each computed when it is first needed."""

    def __init__(self, image: Tensor):
        self.image = image
        self._values: dict[str, Any] = {}

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        if name not in self._values:
            self._values[name] = read()
        return self._values[name]

    @property
    def reading(self) -> Any:
        from world import evaluator

        return self._once("reading", lambda: evaluator.read(self.image)[0])

    @property
    def formed(self) -> tuple[bool, ...] | None:
        """Of each solid of the reading, whether it is well formed: some tenths of a second a solid. None where the
        image is not square, as the camera of the world makes them: no solid of it could be compared."""
        from world import well_formed

        def fitted() -> tuple[bool, ...] | None:
            if self.image.shape[2] != self.image.shape[3]:
                return None
            return tuple(fit.well_formed for fit in well_formed.assess(self.image, [self.reading])[0])

        return self._once("formed", fitted)

    @property
    def surfaces(self) -> Any:
        from world import surfaces

        return self._once("surfaces", lambda: surfaces.read(self.image))

    @property
    def features(self) -> Tensor:
        from world import evaluator

        return self._once("features", lambda: evaluator.features(self.image))


@lru_cache(maxsize=8)
def ground_truth_perception(target: Target) -> Perception:
    """Perception of the ground truth, computed once for all images with the same target."""
    assert target.ground_truth is not None
    return Perception(target.ground_truth)
