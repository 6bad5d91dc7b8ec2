"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from backbones import flow_times, pipelines
from backbones.families.family import Config, Family, Reading
from backbones.flow_times import Settings
from backbones.latent import Inputs
from backbones.token_attention import Attention


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
