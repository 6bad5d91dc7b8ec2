"""What the example of each method is: prompt, seed, inputs and knobs at which a person sees the method work.

Chosen by looking, and measured: `python -m tools.example_images` makes every one with and without its method
(docs/examples.md). Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from app.schema.method_inputs import DegradationValue

CFG_SCALE = 4.0  # of a fresh page


class Of(Enum):
    """A part of the scene of the examples (`scenes.pair`), or the image of another one, where an input takes it."""

    IMAGE = "image"
    NEAR = "near"
    MASK = "mask"
    BOXES = "boxes"
    EVENING = "evening"  # `scenes.evening`


@dataclass(frozen=True)
class Shown:
    """inputs: by name; an `Of` stands for that part of the scene, and a degradation is one of its image. settings: of
    the recipe, where they are not the usual ones. width: of the image, in widths of the network.

    measure: of `fidelity.measures`, which the method improves; wanted: what it is taken against in words, where the
    prompt says only a part of that."""

    prompt: str
    seed: int
    measure: str
    inputs: dict[str, Any] = field(default_factory=dict)
    knobs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    width: int = 1
    wanted: str = ""


PAIR = "a red sphere and a green cylinder on wood"  # true of scenes.pair; it does not say what is where
PURPLE = "a purple sphere and a green cylinder on wood"
SNOW = "a red sphere and a green cylinder on snow"
CUBE = "a large red cube to the left of a small blue sphere"
EDITED = {"source": Of.IMAGE, "source_prompt": PAIR}
PAINTED = {"known": Of.IMAGE, "mask": Of.MASK}
FEW_PIXELS = {"measured": DegradationValue(name="super_resolution", parameters={"factor": 4})}

SHOWN: dict[str, Shown] = {
    # network
    "controlnet": Shown("a blue sphere and a yellow cylinder on snow", 0, "near", {"depth": Of.NEAR}),
    "t2i_adapter": Shown("a blue sphere and a yellow cylinder on snow", 0, "near", {"depth": Of.NEAR}),
    "ip_adapter": Shown(CUBE, 3, "colours", {"images": (Of.EVENING,), "adapter": "ip-adapter_sd15"}),
    "distilled_guidance": Shown(
        f"{CUBE} on grass", 0, "text", settings={"sampler": "lcm", "steps": 4, "cfg_scale": 1.0}
    ),
    "lora": Shown(
        f"{CUBE} on grass", 0, "place", {"files": "<lora:night:1>"}, wanted=f"{CUBE} on grass at night",
    ),
    "inpainting_network": Shown(PURPLE, 0, "kept", {"image": Of.IMAGE, "mask": Of.MASK}),
    "instruct_pix2pix": Shown("make the sphere purple", 0, "kept", {"image": Of.IMAGE}, wanted=PURPLE),
    "in_context_images": Shown("make the sphere purple", 0, "kept", {"images": (Of.IMAGE,)}, wanted=PURPLE),
    # attention
    "attend_and_excite": Shown(
        "a red cube and a blue sphere on grass by day", 3, "text", {"words": "cube, sphere"},
        {"strength": 100.0, "start": 0.15},
    ),
    "masactrl": Shown("a sphere and a cylinder on wood", 1, "solids", {"source_prompt": PAIR}, wanted=PAIR),
    "plug_and_play": Shown(PURPLE, 1, "kept", {"source_prompt": PAIR}),
    "prompt_to_prompt": Shown(SNOW, 0, "abs_rel", {"source_prompt": PAIR}),
    # blending
    "composable": Shown(
        f"{CUBE} on grass", 2, "place", {"also": f"{CUBE} on grass at night"}, settings={"cfg_scale": 2.0},
        wanted=f"{CUBE} on grass at night",
    ),
    "multidiffusion": Shown(PAIR, 2, "boxes", {"regions": Of.BOXES}),
    "panorama": Shown(f"{CUBE} on sand at sunset", 0, "text", width=3),
    # Sunset is added and day taken away: what both prompts say of the solids cancels out, which else would be drawn
    # twice. The light is everywhere, so that no part is left alone.
    "semantic_guidance": Shown(
        f"{CUBE} on grass", 0, "place", {"edit": f"{CUBE} on grass at sunset", "also": f"{CUBE} on grass by day"},
        {"threshold": 0.0, "scale": 1.0, "ratio": -1.0, "warmup": 0.0}, wanted=f"{CUBE} on grass at sunset",
    ),
    # guidance
    "classifier_guidance": Shown(  # without a prompt, as the paper's: one draws its own ground and sky against it
        "", 0, "place", {"asked": "blue cube, snow, night"}, {"scale": 5.0}, {"cfg_scale": 1.0},
        wanted="a blue cube on snow at night",
    ),
    "dps": Shown(PAIR, 0, "psnr", FEW_PIXELS, settings={"sampler": "ancestral", "steps": 50}),
    "energy_guidance": Shown(  # a prompt without a ground or a light: the evening lends both their colours
        CUBE, 3, "colours", {"target": Of.EVENING}, {"energy": "colours", "strength": 2.0, "end": 1.0},
    ),
    "layout_guidance": Shown(PAIR, 0, "boxes", {"boxes": Of.BOXES}),
    "perturbed_attention": Shown(f"{CUBE} on grass", 1, "text", settings={"cfg_scale": 1.0}),  # needs no CFG
    "pigdm": Shown(PAIR, 0, "psnr", FEW_PIXELS),
    # revision
    "ddnm": Shown(PAIR, 0, "psnr", FEW_PIXELS),
    "ddrm": Shown("", 0, "psnr", FEW_PIXELS, settings={"cfg_scale": 1.0}),
    "snips": Shown("", 0, "psnr", FEW_PIXELS, settings={"cfg_scale": 1.0}),
    # correction
    "blended_latent": Shown(PURPLE, 1, "kept", PAINTED),
    "diffedit": Shown(PURPLE, 1, "kept", {"known": Of.IMAGE, "source": PAIR}),
    "ilvr": Shown("a red cube and a green cone on wood", 0, "kept", {"reference": Of.IMAGE}),
    "repaint": Shown(PURPLE, 1, "kept", PAINTED, {"jump": 5, "times": 3}),
    "replacement": Shown(PURPLE, 1, "kept", PAINTED),
    # inversion
    "ddim_inversion": Shown(PURPLE, 1, "kept", EDITED),
    "direct_inversion": Shown(PURPLE, 1, "kept", EDITED),
    "edict": Shown(PURPLE, 1, "kept", EDITED, settings={"cfg_scale": 1.0}),  # guidance on its way up leads it off
    "edit_friendly_ddpm": Shown(SNOW, 0, "abs_rel", EDITED),
    "null_text": Shown(PURPLE, 1, "kept", EDITED, settings={"cfg_scale": 2.0}),
    "sdedit": Shown(PURPLE, 1, "kept", {"source": Of.IMAGE}),
}  # fmt: skip

#: Methods that no example was found for at which a person sees them work on Still Life, and what was tried.
OPEN = {
    "masactrl": "Still Life's self-attention hardly carries looks: it sees 8 or 16 cells a side, of 32, and colours "
    "and grounds come from the words. With the source's keys and values in all seven layers a denoised prediction goes "
    "2 % (at sigma 20 and 0.2) to 11 % (at 2) of the way to the source's (`python -m bench.mutual_attention`, 24 "
    "scenes, a CPU). Another colour, ground and size, a prompt without colours, and all steps and layers were tried.",
}
