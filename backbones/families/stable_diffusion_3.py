"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones import flow_times, pipelines
from backbones.autoencoder import Autoencoder
from backbones.families.control import FamilyControls, width
from backbones.families.family import Config, Family, Reading
from backbones.flow_times import Settings
from backbones.latent import Inputs
from backbones.token_attention import Attention

MEDIUM, LARGE = 24 * 64, 38 * 64  # widths
OF_MEDIUM = {"edges": "InstantX/SD3-Controlnet-Canny", "depth": "InstantX/SD3-Controlnet-Depth",
             "pose": "InstantX/SD3-Controlnet-Pose", "tile": "InstantX/SD3-Controlnet-Tile"}  # fmt: skip
OF_LARGE = {name: f"stabilityai/stable-diffusion-3.5-large-controlnet-{kind}" for name, kind in
            (("edges", "canny"), ("depth", "depth"), ("blur", "blur"))}  # fmt: skip


class StableDiffusion3Controls(FamilyControls):
    """SD3ControlNetModel. InstantX's read no pooled text, and latents without the autoencoder's shift; Stability's for
    3.5 large read no words, and have their places from the model."""

    classes = {"SD3ControlNetModel": "SD3ControlNetModel", "ControlNetSD3Model": "SD3ControlNetModel"}
    blocks = {"block_controlnet_hidden_states": "transformer_blocks"}

    def shape(self, config: Config) -> dict[str, Any]:
        """3.5 normalizes its queries; what reads no words has none."""
        names = ("in_channels", "patch_size", "joint_attention_dim", "pooled_projection_dim")
        normalized = {"a normalization of queries": config.get("qk_norm") or "none"}
        reads_words = config.get("joint_attention_dim") is not None
        return {"a width of": width(config), **{name: config.get(name) for name in names},
                **(normalized if reads_words else {})}  # fmt: skip

    def family(self, config: Config) -> str:
        if width(config) == LARGE:
            return "Stable Diffusion 3.5 large"
        medium = "Stable Diffusion 3.5 medium" if config.get("qk_norm") else "Stable Diffusion 3 medium"
        return medium if width(config) == MEDIUM else ""

    def known(self, config: Config) -> Mapping[str, str]:
        of = {"Stable Diffusion 3 medium": OF_MEDIUM, "Stable Diffusion 3.5 large": OF_LARGE}
        return of.get(self.family(config), {})

    def check(self, config: Config, network: Config) -> str:
        more = int(config.get("extra_conditioning_channels") or 0)
        return f"reads {more} more channels beside the map, as for inpainting: it does not run here" if more else ""

    def read(self, where: str, config: Config, images: Autoencoder, shown: Tensor) -> Tensor:
        """Stability's of edges was trained on maps of 0.5 to 128 in place of -1 to 1 (its card on the Hub): it is known
        by its name."""
        if config.get("joint_attention_dim", ...) is None and "canny" in where.lower():
            shown = (shown * 127.5 + 1.5) / 2
        latents = super().read(where, config, images, shown)
        if config.get("force_zeros_for_pooled_projection", True):
            latents = latents + (images.shift * images.scale).to(latents)
        return latents

    def prepare(self, network: Any, model: Any) -> None:
        if not network.config.use_pos_embed:
            weights = next(network.parameters())
            network.pos_embed = network._get_pos_embed_from_transformer(model).to(weights.device, weights.dtype)

    def residuals(
        self, network: Any, model: Any, x: Tensor, t: Tensor, inputs: Inputs, seen: Tensor, scale: Tensor,
        mode: int | None,
    ) -> dict[str, Sequence[Tensor]]:
        config, pooled = network.config, inputs["pooled"]
        (found,) = network(
            hidden_states=x, controlnet_cond=seen, conditioning_scale=scale, timestep=1000 * t,
            encoder_hidden_states=None if config.joint_attention_dim is None else inputs["text"],
            pooled_projections=torch.zeros_like(pooled) if config.force_zeros_for_pooled_projection else pooled,
            return_dict=False,
        )  # fmt: skip
        return {"block_controlnet_hidden_states": found}

    def laid(self, residuals: Sequence[Tensor], blocks: int, network: Any) -> dict[int, Tensor]:
        """Evenly, rounded as diffusers does."""
        return {i: residuals[int(i / (blocks / len(residuals)))] for i in range(blocks)}


class StableDiffusion3(Family):
    """Two CLIPs and T5 for the words, laid end to end; words and 2 x 2 latents in two streams. T5 may be left out."""

    name = "Stable Diffusion 3"
    networks = (pipelines.STABLE_DIFFUSION_3,)
    attention = (
        Attention(r"transformer_blocks\.\d+\.attn", stream="double", image_first=True),
        Attention(r"transformer_blocks\.\d+\.attn2", "self"),
    )
    reads = frozenset({"text", "pooled"})
    reading = Reading("tokenizer_3", 256, 1)
    words = (("text_encoder", "tokenizer"), ("text_encoder_3", "tokenizer_3"))
    controls = StableDiffusion3Controls()

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        words, _, pooled, _ = pipe.encode_prompt(
            text, None, None, do_classifier_free_guidance=False, max_sequence_length=self.reading.tokens
        )
        return {"text": words, "pooled": pooled}

    def reading_of(self, config: Config, has_part: Callable[[str], bool]) -> Reading:
        """Without T5, what the CLIPs read."""
        return self.reading if has_part("text_encoder_3") else Reading("tokenizer", 77, 2)

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        return model(
            hidden_states=x, timestep=1000 * t, encoder_hidden_states=inputs["text"],
            pooled_projections=inputs["pooled"], return_dict=False,
        )[0]  # fmt: skip

    def schedule(self, steps: int, settings: Settings, tokens: int) -> list[float]:
        """Even in time from 1 to the least time that it was trained at, shifted."""
        shift = self.shift(settings, tokens, steps)
        least = 1 / int(settings.get("num_train_timesteps") or 1000)
        if not settings.get("use_dynamic_shifting"):
            least = float(flow_times.shifted([least], shift)[0])
        return [*flow_times.levels(flow_times.shifted(np.linspace(1, least, steps), shift)), 0.0]
