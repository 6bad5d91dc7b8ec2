"""PixArt-alpha and PixArt-Sigma (Chen et al. 2023, arXiv 2310.00426; 2024, arXiv 2403.04692)."""

from typing import Any

from torch import Tensor

from backbones import pipelines
from backbones.families.family import Config, Family, Reading
from backbones.flow_times import Settings
from backbones.latent import Inputs
from backbones.token_attention import Attention


class PixArt(Family):
    """T5 for the words, with a mask; a plain transformer over 2 x 2 latents, with attention to words. It predicts noise
    and its variance, of which the noise is used. Alpha at 1024 pixels reads the size of the image as well."""

    name = "PixArt"
    networks = (pipelines.PIXART, pipelines.PIXART_ALPHA)
    attention = (
        Attention(r"transformer_blocks\.\d+\.attn1", "self"),
        Attention(r"transformer_blocks\.\d+\.attn2", "cross"),
    )
    reads = frozenset({"text", "text_mask"})
    reading = Reading("tokenizer", 300, 1)

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        # alpha reads the size of the image at 1024 pixels, and shorter texts at every size
        longest = 120 if type(pipe).__name__.startswith("PixArtAlpha") else self.reading.tokens
        words, mask, _, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=longest)
        return {"text": words, "text_mask": mask}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        pixels = inputs.get("pixels")
        added = {"resolution": pixels, "aspect_ratio": None if pixels is None else pixels[:, :1] / pixels[:, 1:]}
        out = model(
            x, encoder_hidden_states=inputs["text"], encoder_attention_mask=inputs["text_mask"], timestep=t,
            added_cond_kwargs=added, return_dict=False,
        )[0]  # fmt: skip
        return out[:, : x.shape[1]]

    def reads_pixels(self, config: Config) -> bool:
        said = config.get("use_additional_conditions")
        return config["sample_size"] == 128 if said is None else bool(said)

    def schedule(self, steps: int, settings: Settings, tokens: int) -> None:
        return None
