"""FLUX.1 (Black Forest Labs 2024): dev and schnell, Kontext (Batifol et al. 2025, arXiv 2506.15742), and Fill."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.controlnets import plain
from backbones.families.control import FamilyControls, width
from backbones.families.family import Config, Family, Reading, grid, packed, references_of, unpacked
from backbones.latent import Inputs
from backbones.token_attention import Attention

GUIDANCE = 3.5  # the scale that dev reads where none is given
UNION = "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro"
MODES = ("edges", "tile", "depth", "blur", "pose", "gray", "low quality")


class FluxControls(FamilyControls):
    """FluxControlNetModel, also in the form of XLabs, which reads the map itself and whose residuals are added in
    turns. A union reads its mode as a further word."""

    classes = {"FluxControlNetModel": "FluxControlNetModel"}
    blocks = {"controlnet_block_samples": "transformer_blocks",
              "controlnet_single_block_samples": "single_transformer_blocks"}  # fmt: skip

    def shape(self, config: Config) -> dict[str, Any]:
        names = ("in_channels", "joint_attention_dim", "pooled_projection_dim", "axes_dims_rope")
        return {"a width of": width(config), **{name: plain(config.get(name)) for name in names}}

    def family(self, config: Config) -> str:
        return "FLUX.1" if width(config) == 24 * 128 else ""

    def known(self, config: Config) -> Mapping[str, str]:
        """The second union knows by itself what it is shown; three modes are in the first alone."""
        first = {mode: f"{UNION}?{MODES.index(mode)}" for mode in ("tile", "blur", "low quality")}
        second = dict.fromkeys(("depth", "edges", "pose", "soft edge", "gray"), f"{UNION}-2.0")
        return second | first if self.family(config) else {}

    def modes(self, config: Config) -> tuple[str, ...]:
        return MODES[: int(config.get("num_mode") or 0)]

    def reads_pixels(self, config: Config) -> bool:
        return config.get("conditioning_embedding_channels") is not None

    def residuals(
        self, network: Any, model: Any, x: Tensor, t: Tensor, inputs: Inputs, seen: Tensor, scale: Tensor,
        mode: int | None,
    ) -> dict[str, Sequence[Tensor]]:
        words = inputs["text"]
        guidance = inputs.get("guidance", words.new_full((len(x),), GUIDANCE))
        double, single = network(
            hidden_states=packed(x), controlnet_cond=seen if self.reads_pixels(network.config) else packed(seen),
            controlnet_mode=None if mode is None else t.new_full((len(x), 1), mode, dtype=torch.long),
            conditioning_scale=scale, timestep=t, guidance=guidance if network.config.guidance_embeds else None,
            pooled_projections=inputs["pooled"], encoder_hidden_states=words,
            txt_ids=words.new_zeros(words.shape[1], 3), img_ids=grid(x.shape[-2] // 2, x.shape[-1] // 2, 3, x),
            return_dict=False,
        )  # fmt: skip
        return dict(zip(self.blocks, (double or (), single or ())))

    def laid(self, residuals: Sequence[Tensor], blocks: int, network: Any) -> dict[int, Tensor]:
        if self.reads_pixels(network.config):
            return {i: residuals[i % len(residuals)] for i in range(blocks)}
        return super().laid(residuals, blocks, network)


class Flux(Family):
    """T5 for the words, CLIP for their sum; tokens of 2 x 2 latents in two streams, then in one.

    dev was distilled from a guided network and has the scale as an input; schnell was distilled to few steps, without.
    """

    name = "FLUX.1"
    networks = (pipelines.FLUX,)
    attention = (
        Attention(r"transformer_blocks\.\d+\.attn", stream="double"),
        Attention(r"single_transformer_blocks\.\d+\.attn", stream="single"),
    )
    reads = frozenset({"text", "pooled"})
    reading = Reading("tokenizer_2", 512, 1)
    words = (("text_encoder_2", "tokenizer_2"),)
    guidance = GUIDANCE
    controls: FamilyControls | None = FluxControls()

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        longest = self.reading_of(pipe.transformer.config, pipe.components.__contains__).tokens
        words, pooled, _ = pipe.encode_prompt(text, max_sequence_length=longest)
        return {"text": words, "pooled": pooled}

    def reading_of(self, config: Config, has_part: Callable[[str], bool]) -> Reading:
        """schnell was trained on shorter texts."""
        return self.reading if config["guidance_embeds"] else replace(self.reading, tokens=256)

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        h, w = x.shape[-2:]
        words = inputs["text"]
        tokens, places = self.tokens(model, x, inputs)
        out = model(
            hidden_states=tokens, timestep=t, guidance=inputs.get("guidance"), pooled_projections=inputs["pooled"],
            encoder_hidden_states=words, txt_ids=words.new_zeros(words.shape[1], 3),
            img_ids=places, return_dict=False,
        )[0]  # fmt: skip
        return unpacked(out[:, : h * w // 4], (h, w))

    def tokens(self, model: Any, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Those of the image (B, N, C'), and their places (N, 3)."""
        return packed(x), grid(x.shape[-2] // 2, x.shape[-1] // 2, 3, x)


class FluxKontext(Flux):
    """dev, trained on to edit by instruction: it reads the image that is edited as tokens at the same places, told
    apart by the first axis."""

    name = "FLUX.1 Kontext"
    networks = (pipelines.FLUX_KONTEXT,)
    controls = None
    references = True

    def tokens(self, model: Any, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Those of the noisy image, then those of the reference images."""
        own, places = super().tokens(model, x, inputs)
        tokens, ids = [own], [places]
        for image in references_of(inputs):
            there = grid(image.shape[-2] // 2, image.shape[-1] // 2, 3, x)
            there[:, 0] = 1
            tokens.append(packed(image))
            ids.append(there)
        return torch.cat(tokens, 1), torch.cat(ids)


class FluxFill(Flux):
    """dev, trained on for inpainting: beside each token stand those of the image with gray under the mask, and the mask
    at every pixel."""

    name = "FLUX.1 Fill"
    networks = (pipelines.FLUX_FILL,)
    controls = None
    inpaints = True
    guidance = 30.0

    def tokens(self, model: Any, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        own, places = super().tokens(model, x, inputs)
        mask, image = inputs["c_concat"][:, :1], packed(inputs["c_concat"][:, 1:])
        pixels = (int(model.config.in_channels) - own.shape[-1] - image.shape[-1]) // 4  # to a latent
        return torch.cat([own, image, packed(mask.expand(-1, pixels, -1, -1))], -1), places
