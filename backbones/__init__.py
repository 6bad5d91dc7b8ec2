"""Backbones: checkpoints behind one interface, `backbones.base.Backbone`."""

from pathlib import Path

from backbones.base import Backbone

STILL_LIFE = Path(__file__).parent / "still_life"


def load(id: str) -> Backbone:
    """The backbone of that name: "still-life" (embedded), "exact" (the oracle), a local folder, or a Hub id.

    Raises what the loader raises, an OSError for a folder or Hub id without a model.
    """
    if id == "exact":
        from backbones.exact import pictures

        return pictures()
    from backbones.unet import UNetBackbone  # diffusers is slow to import

    return UNetBackbone.load(str(STILL_LIFE), "still-life") if id == "still-life" else UNetBackbone.load(id)
