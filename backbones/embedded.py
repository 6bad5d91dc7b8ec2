"""The networks that come with the program, as far as they are known before they are loaded. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STILL_LIFE = Path(__file__).parent / "still_life"
PIXELS = Path(__file__).parent / "still_life_pixels"


@dataclass(frozen=True)
class Embedded:
    """name: for people. folder: of the weights, None for the oracle, which has none. default_size: pixels. in_pixels:
    whether its state is the image itself, without an autoencoder. far: the part of an image's contrast that its
    autoencoder misses of no image of its world (`app.engine.familiarity`); None where that is not measured."""

    name: str
    folder: Path | None
    default_size: int
    in_pixels: bool = False
    far: float | None = None

    @property
    def present(self) -> bool:
        """Whether its weights are in this copy of the program."""
        return self.folder is None or (self.folder / "model_index.json").exists()


EMBEDDED = {
    "still-life": Embedded("Still Life", STILL_LIFE, 128, far=0.165),
    "still-life-pixels": Embedded("Still Life in pixels", PIXELS, 64, in_pixels=True),
    "exact": Embedded("Gaussian mixture (exact)", None, 64, in_pixels=True),
}
