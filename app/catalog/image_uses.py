"""What an image of one's own can be used for, when it is dropped or pasted: in the order in which people want it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ImageUse:
    """The image becomes `input` of `method`, whose knobs are set to `knobs`. needs: names of what the network offers,
    beside what the method needs."""

    title: str
    summary: str
    method: str
    input: str
    knobs: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


IMAGE_USES = (
    ImageUse("Image to image (img2img)", "A new image begins from this one", "sdedit", "source"),
    ImageUse("Inpainting", "You paint a mask, and the prompt fills it", "blended_latent", "known"),
    ImageUse("Editing by inversion", "The prompt says what it should show; the rest stays", "edit_friendly_ddpm",
             "source"),
    ImageUse("ControlNet: its edges", "Canny finds its edges, and the new image follows them", "controlnet", "edges",
             {"edges_by": "canny"}, ("controlnet:edges",)),
    ImageUse("ControlNet: its depth", "What is near and what is far is read off it, and the new image follows that",
             "controlnet", "depth", {"depth_by": "depth estimator"}, ("controlnet:depth", "perception_model")),
    ImageUse("ControlNet: an edge map", "White lines on black, taken as they are", "controlnet", "edges",
             {"edges_by": "as it is"}, ("controlnet:edges",)),
    ImageUse("ControlNet: a depth map", "White is near, black is far, taken as it is", "controlnet", "depth",
             {"depth_by": "as it is"}, ("controlnet:depth",)),
    ImageUse("Image prompt", "The new image takes after this one, by an IP-Adapter", "ip_adapter", "images"),
    ImageUse("Colours and layout", "The new image looks like this one from afar", "ilvr", "reference"),
    ImageUse("Restoring", "It is degraded in a known way, and the model restores it", "ddnm", "measured"),
)  # fmt: skip
