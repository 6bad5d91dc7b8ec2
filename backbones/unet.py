"""diffusers' text-to-image UNet as a `backbones.latent.Network`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from backbones import controls
from backbones.attention_sites import editing
from backbones.autoencoder import Autoencoder
from backbones.engines import SMALL, EngineChoice, NetworkEngine, OpenVINOEngine, TorchEngine, choose
from backbones.extensions import Extension, Extensions
from backbones.latent import Inputs
from samplers.protocol import Cond

GUIDANCE = 8.5  # diffusers' default for latent consistency models
OFFERS = frozenset({"prompts", "gradients", "attention.self", "attention.cross", "features", "lora"})


def size_multiple(factor: int, stages: int, parameters: int) -> int:
    """Of width and height in pixels: one latent, as in diffusers, whose UNets take odd sides at every stage. Small
    networks are traced for OpenVINO, where each of the `stages` but the first has half the side of the one before.

    factor: pixels to a latent.
    """
    return factor * 2 ** (stages - 1) if parameters <= SMALL else factor


def offers(config: Mapping[str, Any], latents: int) -> frozenset[str]:
    """What a UNet of this config offers methods, where latents have so many channels."""
    kinds = {2 * latents + 1: "inpainting network", 2 * latents: "editing network"}
    more = {kinds[config["in_channels"]]} if config["in_channels"] in kinds else set()
    return OFFERS | more | ({"distilled guidance"} if config.get("time_cond_proj_dim") else set())


class WithGuidance(nn.Module):
    """A UNet that has its guidance scale as an input, called as one without: it finds it in `added_cond_kwargs`."""

    def __init__(self, unet: Any):
        super().__init__()
        self.unet, self.config = unet, unet.config
        self.more = {"timestep_cond": torch.zeros(2, unet.config.time_cond_proj_dim)}  # for `engines.UNetGraph`
        self.key = "guidance"

    def forward(self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: Any = None, **more: Any) -> Any:
        added = dict(added_cond_kwargs)
        scale = added.pop("timestep_cond")
        return self.unet(x, t, text, timestep_cond=scale, added_cond_kwargs=added or None, **more)


def embedded(w: Tensor, width: int) -> Tensor:
    """Guidance w = scale - 1 (B,) -> sines and cosines (B, width), as latent consistency models were trained with (Luo
    et al. 2023; `get_guidance_scale_embedding` of their pipeline)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=w.device) * -(math.log(10000.0) / (half - 1)))
    waves = 1000.0 * w[:, None].float() * rates
    return nn.functional.pad(torch.cat([waves.sin(), waves.cos()], 1), (0, width % 2))


class UNet:
    """A UNet2DConditionModel. Of a cond it reads "text" (B, L, D), and the XL kind "pooled" (B, P) and, if one wants
    others than those of the whole image, "time_ids" (B, 6): original height and width, top and left of the crop, target
    height and width.

    An inpainting UNet has 1 + C more channels of input, "c_concat" (B, 1 + C, h, w): the mask, 1 where the image is to
    be new, and the latents of the image with gray there (Rombach et al. 2022, Section 4.5). Without that key all is to
    be new.

    That of InstructPix2Pix has C more channels, "c_concat" (B, C, h, w): the latents of the image that is edited, of
    unit scale; without that key there is no image (Brooks et al. 2022, Section 3.2).

    That of a latent consistency model has its guidance scale as an input, "guidance" (B,); without that key it is
    GUIDANCE.
    """

    def __init__(self, id: str, unet: Any, plan: EngineChoice, revision: str, images: Autoencoder):
        """id: of the checkpoint, for messages. unet: on the plan's device in its dtype, frozen, in eval mode.
        revision: a hash of the checkpoint. images: its autoencoder."""
        self.id, self.unet, self.plan, self.revision, self.images = id, unet, plan, revision, images
        self.more_channels = int(unet.config.in_channels) - images.channels
        self.offers = offers(unet.config, images.channels)
        self.cell = 2 ** (len(unet.config.block_out_channels) - 1)  # latents along a side of one of the coarsest stage
        self.xl = unet.config.addition_embed_type == "text_time"
        self.embeds_guidance = int(unet.config.time_cond_proj_dim or 0)  # width of that input
        self.reads = {"text", "tokens", *(("pooled", "time_ids") if self.xl else ())}  # keys of cond
        self.reads |= {"c_concat"} if self.more_channels else set()
        self.reads |= {"guidance"} if self.embeds_guidance else set()
        self.called = WithGuidance(unet) if self.embeds_guidance else unet
        self.adapters = Extensions(self.called, self._engines_of, revision)
        self.engine, self.torch = self.adapters.plain
        self.opener = controls.of_unet(unet, plan.device, plan.dtype)

    def read(self, cond: Cond, shape: Sequence[int]) -> Inputs:
        """{"text", with SDXL "text_embeds" and "time_ids", those of `extend`}, each (B, ...). Raises ValueError."""
        more = {key: value.to(self.plan.device) for key, value in self.adapters.of(cond).items()}
        given = {key: value for key, value in cond.items() if key not in more}
        unread = set(given) - self.reads
        wanted = {"text", "pooled"} if self.xl else {"text"}
        if "weights" in unread:
            raise ValueError(f"{self.id} has no weights of words beside the text: write them into the prompt, such as "
                             "(cube:1.3), or weigh words by prompt_to_prompt")  # fmt: skip
        if unread or wanted - set(given):
            raise ValueError(f"{self.id} reads {', '.join(sorted(wanted))} of cond, and got "
                             f"{', '.join(sorted(given)) or 'nothing'}")  # fmt: skip
        text = given["text"].to(self.plan.device)
        if text.shape[-1] != self.unet.config.cross_attention_dim:
            raise ValueError(f"the text has {text.shape[-1]} features and {self.id} wants "
                             f"{self.unet.config.cross_attention_dim}: encode it with this backbone")  # fmt: skip
        if self.more_channels:
            more["c_concat"] = self._beside(given.get("c_concat"), text, shape)
        if self.embeds_guidance:
            scale = given.get("guidance", text.new_full((shape[0],), GUIDANCE))
            more["timestep_cond"] = embedded(scale.to(text) - 1, self.embeds_guidance)
        if not self.xl:
            return {"text": text, **more}
        ids = given.get("time_ids")
        if ids is None:
            h, w = (n * self.images.factor for n in shape[-2:])
            ids = text.new_tensor([[h, w, 0, 0, h, w]]).expand(shape[0], 6)
        pooled = given["pooled"].to(self.plan.device)
        return {"text": text, "text_embeds": pooled, "time_ids": ids.to(self.plan.device), **more}

    def __call__(self, x: Tensor, t: Tensor, inputs: Inputs, edit: object | None = None, tape: bool = False) -> Tensor:
        """See `backbones.latent.Network`."""
        added = dict(inputs)
        text = added.pop("text")
        if self.more_channels:
            x = torch.cat([x, added.pop("c_concat").to(x)], 1)
        engine, in_torch = self.adapters.engines(added)
        if edit is not None:
            with editing(self.unet, edit, (x.shape[-2], x.shape[-1])):
                return in_torch(x, t, text, added, rows=0)
        if tape:
            return in_torch(x, t, text, added, rows=min(in_torch.rows, 1))
        if isinstance(engine, OpenVINOEngine) and any(side % self.cell for side in x.shape[-2:]):
            return in_torch(x, t, text, added)  # a stage has an odd side: not as it was traced
        return engine(x, t, text, added)

    def take(self, engine: NetworkEngine) -> None:
        """It answers plain asks from now on."""
        self.engine = engine
        self.adapters.plain = (engine, self.torch)

    def extend(self, prefix: str, extension: Extension) -> None:
        """See `backbones.latent.LatentBackbone.extend`."""
        self.adapters.add(prefix, extension)

    def check_controlnet(self, where: str) -> None:
        """See `backbones.latent.Network`."""
        self.opener.check(where)

    def open_controlnets(self, wheres: Sequence[str]) -> tuple[controls.Controls, str]:
        """See `backbones.latent.Network`."""
        return self.opener.open(wheres)

    def read_map(self, where: str, shown: Tensor) -> Tensor:
        """See `backbones.latent.Network`."""
        return self.opener.read(where, shown)

    def _beside(self, given: Tensor | None, like: Tensor, shape: Sequence[int]) -> Tensor:
        """What is laid beside the noisy latents, (B, C', h, w)."""
        if "editing network" not in self.offers:
            return self.images.all_new(shape) if given is None else given.to(self.plan.device)
        if given is None:
            return like.new_zeros(shape[0], self.more_channels, *shape[-2:])
        return self.images.unscaled(given.to(self.plan.device))  # as it was trained: diffusers, Stability and authors

    def _engines_of(self, network: Any, key: str) -> tuple[NetworkEngine, TorchEngine]:
        engine = choose(network, self.plan, key)
        return engine, engine if isinstance(engine, TorchEngine) else TorchEngine(network, self.plan.rows)
