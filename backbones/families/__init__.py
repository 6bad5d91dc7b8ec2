"""Families of diffusion transformers, a file each: how one reads prompts, lays latents out as tokens, and is called.

Each is a `backbones.families.family.Family`; `FAMILIES` finds one by the pipeline of a model_index.json.
"""

from backbones.families.family import Family
from backbones.families.flux import Flux, FluxFill, FluxKontext
from backbones.families.flux2 import Flux2Klein
from backbones.families.krea2 import Krea2
from backbones.families.pixart import PixArt
from backbones.families.qwen_image import QwenImage
from backbones.families.sana import Sana
from backbones.families.stable_diffusion_3 import StableDiffusion3
from backbones.families.z_image import ZImage

ALL: tuple[Family, ...] = (
    QwenImage(), ZImage(), Flux2Klein(), Flux(), FluxKontext(), FluxFill(), Krea2(), StableDiffusion3(), Sana(),
    PixArt(),
)  # fmt: skip
FAMILIES: dict[str, Family] = {
    name: family for family in ALL for networks in family.networks for name in networks.pipelines
}
