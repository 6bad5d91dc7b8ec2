"""FLUX.2 klein (Black Forest Labs 2025)."""

from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.families.family import Family, Reading, grid, references_of
from backbones.flow_times import Settings
from backbones.latent import Inputs
from backbones.token_attention import Attention

LINES = ((8.73809524e-05, 1.89833333), (0.00016927, 0.45666666))  # mu by tokens, for 10 and for 200 steps
APART = 10  # on the first axis of places, between reference images
MOST = 4300  # tokens: above, mu is that of 200 steps


class Flux2Klein(Family):
    """Three layers of Qwen3 for the words; a token is one latent of the autoencoder's patches of 2 x 2, and reference
    images are further tokens.

    Guidance is ordinary; the distilled variant takes a scale of 1.
    """

    name = "FLUX.2 klein"
    networks = (pipelines.FLUX_2_KLEIN,)
    attention = (
        Attention(r"transformer_blocks\.\d+\.attn", stream="double"),
        Attention(r"single_transformer_blocks\.\d+\.attn", stream="single"),
    )
    patch = 1
    references = True
    reading = Reading("tokenizer", 512, 3)

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        return {"text": pipe.encode_prompt(text, max_sequence_length=self.reading.tokens)[0]}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        h, w = x.shape[-2:]
        words = inputs["text"]
        places = words.new_zeros(words.shape[1], 4)
        places[:, 3] = torch.arange(words.shape[1], device=words.device)
        tokens, ids = [x], [grid(h, w, 4, words)]
        for i, image in enumerate(references_of(inputs), 1):
            there = grid(image.shape[-2], image.shape[-1], 4, words)
            there[:, 0] = APART * i
            tokens.append(image)
            ids.append(there)
        out = model(
            hidden_states=torch.cat([one.flatten(2).transpose(1, 2) for one in tokens], 1), timestep=t, guidance=None,
            encoder_hidden_states=words, txt_ids=places, img_ids=torch.cat(ids), return_dict=False,
        )[0]  # fmt: skip
        return out[:, : h * w].transpose(1, 2).unflatten(2, (h, w))

    def shift(self, settings: Settings, tokens: int, steps: int) -> float:
        """A line through what was found to suit 10 and 200 steps, as the authors have it."""
        if not settings.get("use_dynamic_shifting"):
            return super().shift(settings, tokens, steps)
        of_10, of_200 = (slope * tokens + start for slope, start in LINES)
        mu = of_200 if tokens > MOST else of_200 + (of_200 - of_10) / 190 * (steps - 200)
        return float(torch.tensor(mu, dtype=torch.float64).exp())
