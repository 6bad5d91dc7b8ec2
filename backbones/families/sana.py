"""Sana (Xie et al. 2024, arXiv 2410.10629)."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
from torch import Tensor

from backbones import flow_times, pipelines
from backbones.families.control import FamilyControls, width
from backbones.families.family import Config, Family, Reading
from backbones.flow_times import Settings
from backbones.latent import Inputs
from backbones.token_attention import Attention


class SanaControls(FamilyControls):
    """SanaControlNetModel: its residuals follow the model's second block and those after it, one each."""

    classes = {"SanaControlNetModel": "SanaControlNetModel"}
    blocks = {"controlnet_block_samples": "transformer_blocks"}

    def shape(self, config: Config) -> dict[str, Any]:
        names = ("in_channels", "patch_size", "caption_channels", "cross_attention_dim")
        return {"a width of": width(config), **{name: config.get(name) for name in names}}

    def family(self, config: Config) -> str:
        return {36 * 32: "Sana 0.6B", 70 * 32: "Sana 1.6B"}.get(width(config), "")

    def residuals(
        self, network: Any, model: Any, x: Tensor, t: Tensor, inputs: Inputs, seen: Tensor, scale: Tensor,
        mode: int | None,
    ) -> dict[str, Sequence[Tensor]]:
        (found,) = network(
            x, encoder_hidden_states=inputs["text"], encoder_attention_mask=inputs["text_mask"],
            timestep=1000 * t * model.config.timestep_scale, controlnet_cond=seen, conditioning_scale=scale,
            return_dict=False,
        )  # fmt: skip
        return {"controlnet_block_samples": found}

    def laid(self, residuals: Sequence[Tensor], blocks: int, network: Any) -> dict[int, Tensor]:
        return dict(enumerate(residuals))


class Sana(Family):
    """Gemma 2 for the words, after an instruction to enhance the prompt; linear attention, and attention to words.

    The pipeline gives a negative prompt no instruction; here the empty one alone has none.
    """

    name = "Sana"
    networks = (pipelines.SANA,)
    attention = (Attention(r"transformer_blocks\.\d+\.attn2", "cross"),)
    patch = 1
    reads = frozenset({"text", "text_mask"})
    reading = Reading("tokenizer", 300, 1)
    controls = SanaControls()

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        usual = signature(type(pipe).__call__).parameters["complex_human_instruction"].default
        words, mask, _, _ = pipe.encode_prompt(
            text, do_classifier_free_guidance=False, max_sequence_length=self.reading.tokens,
            complex_human_instruction=usual if text else None,
        )  # fmt: skip
        return {"text": words, "text_mask": mask}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        out = model(
            x, encoder_hidden_states=inputs["text"], encoder_attention_mask=inputs["text_mask"],
            timestep=1000 * t * model.config.timestep_scale, return_dict=False,
        )[0]  # fmt: skip
        return out[:, : x.shape[1]]

    def shift(self, settings: Settings, tokens: int, steps: int) -> float:
        return float(settings.get("flow_shift") or settings.get("shift") or 1.0)

    def schedule(self, steps: int, settings: Settings, tokens: int) -> list[float]:
        """Even in time from just below 1, shifted, as DPMSolverMultistepScheduler has the levels of a flow."""
        times = np.linspace(1 - 1 / int(settings.get("num_train_timesteps") or 1000), 0, steps + 1)[:-1]
        return [*flow_times.levels(flow_times.shifted(times, self.shift(settings, tokens, steps))), 0.0]
