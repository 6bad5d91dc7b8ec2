"""Backbones: checkpoints behind one interface, `backbones.base.Backbone`."""

import threading
from pathlib import Path

from backbones.base import Backbone

STILL_LIFE = Path(__file__).parent / "still_life"
PIXELS = Path(__file__).parent / "still_life_pixels"
EMBEDDED = {"still-life": STILL_LIFE, "still-life-pixels": PIXELS}
_LOADING = threading.Lock()


def load(id: str) -> Backbone:
    """The backbone of that name: "still-life" and "still-life-pixels" (embedded), "exact" (the oracle), a local folder,
    or a Hub id.

    Raises what the loader raises, an OSError for a folder or Hub id without a model. From several threads they are
    loaded one after the other: diffusers and transformers make weights under switches of the whole process, and two
    at once came out without any ("Cannot copy out of meta tensor").
    """
    with _LOADING:
        return _loaded(id)


def _loaded(id: str) -> Backbone:
    if id == "exact":
        from backbones.exact import pictures

        return pictures()
    from backbones import checkpoint, pixels, unet  # diffusers is slow to import

    path = str(EMBEDDED.get(id, id))
    folder = checkpoint.locate(path, (*unet.FITS, *pixels.FITS))
    kind = checkpoint.check(folder, (*unet.FITS, *pixels.FITS))["_class_name"]
    return (pixels.PixelBackbone if kind in pixels.FITS else unet.UNetBackbone).load(str(folder), id)
