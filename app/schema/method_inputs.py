"""What a recipe gives to its methods: numbers, words, boxes, and images by their content hash. Plain JSON, no torch.

Whether a method takes what it is given is a matter of the registry, and checked in `app.engine.method_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from common.fitting import Fit

HASH = re.compile(r"[0-9a-f]{64}")
LONGEST_PROMPT = 10_000  # characters
LARGEST_EDGE = 64  # pixels that a mask grows, or its edge is blurred by
MOST = 64  # boxes, points or references of one input


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("recipe", "{message}", {"message": message})


def is_hash(text: Any) -> bool:
    """Whether this stands for an image: sha256 of its content, 64 hexadecimal digits."""
    return isinstance(text, str) and HASH.fullmatch(text) is not None


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Part = Annotated[float, Field(ge=0, le=1)]  # of the width or height of the image


def _plain(value: Any) -> Any:
    """Text that can be stored: neither NUL nor half a letter."""
    return value.replace("\0", "").encode("utf-8", "replace").decode() if isinstance(value, str) else value


Words = Annotated[str, BeforeValidator(_plain), Field(max_length=LONGEST_PROMPT)]


class BoxValue(_Given):
    """Edges as parts 0..1 of the image, and what should be in it."""

    left: Part
    top: Part
    right: Part
    bottom: Part
    text: Words = ""

    @model_validator(mode="after")
    def _some_area(self) -> Self:
        if self.left >= self.right or self.top >= self.bottom:
            raise _wrong(
                f"Box {self.text!r}: it goes from {self.left:g} to {self.right:g} across and from {self.top:g} to "
                f"{self.bottom:g} down. Give a right edge beyond the left one, and a bottom below the top."
            )
        return self


class PointValue(_Given):
    """A place as parts 0..1 of the image, and where it should move."""

    x: Part
    y: Part
    to_x: Part | None = None
    to_y: Part | None = None


def with_image(given: dict[str, Any]) -> dict[str, Any]:
    """A degradation as JSON, with "image" for the "picture" of version 0.1."""
    if "image" in given or "picture" not in given:
        return given
    return {"image" if key == "picture" else key: value for key, value in given.items()}


class DegradationValue(_Given):
    """What was done to an image before it was measured. sigma_y: noise, in units where images are [-1, 1]."""

    image: str = ""  # content hash; "" while none was given
    name: str
    parameters: dict[str, bool | int | float | str] = {}  # a mask by its content hash
    sigma_y: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, given: Any) -> Any:
        return with_image(given) if isinstance(given, dict) else given


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    if isinstance(value, (DegradationValue, dict)):
        return "degradation"
    if not isinstance(value, (list, tuple)):
        return None
    first = value[0] if value else ""
    if isinstance(first, str):
        return "references"
    return "points" if isinstance(first, PointValue) or (isinstance(first, dict) and "x" in first) else "boxes"


#: An image or mask (its content hash) or a prompt; a degradation; references; boxes; points.
Value = Annotated[
    Annotated[Words, Tag("text")]
    | Annotated[DegradationValue, Tag("degradation")]
    | Annotated[tuple[Words, ...], Field(max_length=MOST), Tag("references")]
    | Annotated[tuple[BoxValue, ...], Field(max_length=MOST), Tag("boxes")]
    | Annotated[tuple[PointValue, ...], Field(max_length=MOST), Tag("points")],
    Discriminator(_kind),
]


class MaskEdge(_Given):
    """The edge of a mask, in pixels of the result: see `common.fitting.with_edge`."""

    grow: Annotated[int, Field(ge=-LARGEST_EDGE, le=LARGEST_EDGE)] = 0
    feather: Annotated[float, Field(ge=0, le=LARGEST_EDGE)] = 0


PLAIN_EDGE = MaskEdge()


class Use(_Given):
    """One method of the stack: its name in the registry, its knobs (a curve as text), its inputs. fit: how the images
    of an input are fitted to the result's size (`common.fitting`), where they are not cropped. mask_edges: of inputs
    that are masks, where they are not as they were painted."""

    name: str
    knobs: dict[str, bool | int | float | str] = {}
    inputs: dict[str, Value] = {}
    fit: dict[str, Fit] = {}
    mask_edges: dict[str, MaskEdge] = {}

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What changes nothing is not written: recipes of before, and what is known by their hashes, stay the same."""
        fields = handler(self)
        unusual = {
            "fit": {name: fit for name, fit in self.fit.items() if fit != "crop"},
            "mask_edges": {name: edge.model_dump() for name, edge in self.mask_edges.items() if edge != PLAIN_EDGE},
        }
        asked = {name: unusual.get(name, value) for name, value in fields.items()}
        return {name: value for name, value in asked.items() if value or name not in unusual}

    def fit_of(self, name: str) -> Fit:
        """How the images of an input are fitted."""
        return self.fit.get(name, "crop")

    def mask_edge_of(self, name: str) -> MaskEdge:
        """The edge of a mask."""
        return self.mask_edges.get(name, PLAIN_EDGE)

    def hashes(self) -> Iterator[str]:
        """The content hashes of the images it needs."""
        for value in self.inputs.values():
            found: tuple[Any, ...] = (value,)
            if isinstance(value, DegradationValue):
                found = (value.image, *value.parameters.values())
            elif isinstance(value, tuple):
                found = value
            yield from (one for one in found if is_hash(one))


def hashes(uses: Iterable[Use]) -> list[str]:
    """The content hashes of all images that these methods need, each once."""
    return list(dict.fromkeys(one for use in uses for one in use.hashes()))
