"""FLUX.1 (Black Forest Labs 2024): dev and schnell."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from backbones import pipelines
from backbones.families.family import Config, Family, Reading, grid, packed, unpacked
from backbones.latent import Inputs


class Flux(Family):
    """T5 for the words, CLIP for their sum; tokens of 2 x 2 latents in two streams, then in one.

    dev was distilled from a guided network and has the scale as an input; schnell was distilled to few steps, without.
    """

    name = "FLUX.1"
    networks = (pipelines.FLUX,)
    reads = frozenset({"text", "pooled"})
    reading = Reading("tokenizer_2", 512, 1)
    guidance = 3.5

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        longest = self.reading_of(pipe.transformer.config, pipe.components.__contains__).tokens
        words, pooled, _ = pipe.encode_prompt(text, max_sequence_length=longest)
        return {"text": words, "pooled": pooled}

    def reading_of(self, config: Config, has_part: Callable[[str], bool]) -> Reading:
        """schnell was trained on shorter texts."""
        return self.reading if config["guidance_embeds"] else replace(self.reading, tokens=256)

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        h, w = x.shape[-2:]
        tokens, words = packed(x), inputs["text"]
        out = model(
            hidden_states=tokens, timestep=t, guidance=inputs.get("guidance"), pooled_projections=inputs["pooled"],
            encoder_hidden_states=words, txt_ids=words.new_zeros(words.shape[1], 3),
            img_ids=grid(h // 2, w // 2, 3, words), return_dict=False,
        )[0]  # fmt: skip
        return unpacked(out, (h, w))
