"""Qwen-Image (Wu et al. 2025, arXiv 2508.02324)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.families.control import FamilyControls, width
from backbones.families.family import Config, Family, packed, unpacked
from backbones.latent import Inputs
from backbones.token_attention import Attention


class QwenImageControls(FamilyControls):
    """QwenImageControlNetModel. Its union knows by itself what it is shown."""

    classes = {"QwenImageControlNetModel": "QwenImageControlNetModel"}
    blocks = {"controlnet_block_samples": "transformer_blocks"}

    def shape(self, config: Config) -> dict[str, Any]:
        names = ("in_channels", "joint_attention_dim")
        return {"a width of": width(config), **{name: config.get(name) for name in names}}

    def family(self, config: Config) -> str:
        return "Qwen-Image" if width(config) == 24 * 128 else ""

    def known(self, config: Config) -> Mapping[str, str]:
        names = ("depth", "edges", "pose", "soft edge") if self.family(config) else ()
        return dict.fromkeys(names, "InstantX/Qwen-Image-ControlNet-Union")

    def check(self, config: Config, network: Config) -> str:
        more = int(config.get("extra_condition_channels") or 0)
        return f"reads {more} more channels beside the map, as for inpainting: it does not run here" if more else ""

    def residuals(
        self, network: Any, model: Any, x: Tensor, t: Tensor, inputs: Inputs, seen: Tensor, scale: Tensor,
        mode: int | None,
    ) -> dict[str, Sequence[Tensor]]:
        found = network(
            hidden_states=packed(x), controlnet_cond=packed(seen), conditioning_scale=scale, timestep=t,
            encoder_hidden_states=inputs["text"], encoder_hidden_states_mask=None,
            img_shapes=[[(1, x.shape[-2] // 2, x.shape[-1] // 2)]] * len(x), return_dict=False,
        )  # fmt: skip
        return {"controlnet_block_samples": found or ()}


class QwenImage(Family):
    """Qwen2.5-VL for the words, within a template whose 34 first tokens are cut off; tokens of 2 x 2 latents.

    The places of words come after those of the image, so that a text is read without filling, whatever stands beside
    it in a batch.
    """

    name = "Qwen-Image"
    networks = (pipelines.QWEN_IMAGE,)
    attention = (Attention(r"transformer_blocks\.\d+\.attn", stream="double"),)
    reads = frozenset({"text", "length"})
    guidance = 1.0
    guidance_keeps_length = True
    controls = QwenImageControls()

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        words, _ = pipe.encode_prompt(text, max_sequence_length=self.reading.tokens)
        return {"text": words, "length": torch.tensor([words.shape[1]])}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        h, w = x.shape[-2:]
        out = model(
            hidden_states=packed(x), timestep=t, guidance=inputs.get("guidance"),
            encoder_hidden_states=inputs["text"], encoder_hidden_states_mask=None,
            img_shapes=[[(1, h // 2, w // 2)]] * len(x), return_dict=False,
        )[0]  # fmt: skip
        return unpacked(out, (h, w))
