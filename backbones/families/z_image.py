"""Z-Image (Tongyi 2025, arXiv 2511.22699)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from backbones import pipelines
from backbones.autoencoder import Autoencoder
from backbones.families.control import FamilyControls
from backbones.families.family import Config, Family, Reading
from backbones.latent import Inputs
from backbones.token_attention import Attention


class ZImageControls(FamilyControls):
    """ZImageControlNetModel: it has its embeddings and its first layers from the model, and names the layers that its
    residuals are for."""

    classes = {"ZImageControlNetModel": "ZImageControlNetModel"}
    blocks = {"controlnet_block_samples": "layers"}

    def shape(self, config: Config) -> dict[str, Any]:
        return {name: config.get(name) for name in ("dim", "n_heads", "n_refiner_layers")}

    def family(self, config: Config) -> str:
        return "Z-Image" if config.get("dim") == 3840 else ""

    def check(self, config: Config, network: Config) -> str:
        last = max(config.get("control_layers_places") or [0])
        if last >= int(network["n_layers"]):
            return f"changes the layer {last} of a network of {network['n_layers']}: take one that was trained for it"
        return ""

    def read(self, where: str, config: Config, images: Autoencoder, shown: Tensor) -> Tensor:
        """From the second version on there is room for a mask and an image to fill in beside it: zeros."""
        latents = super().read(where, config, images, shown)
        more = max(0, int(config["control_in_dim"]) - latents.shape[1])
        return torch.cat([latents, latents.new_zeros(len(latents), more, *latents.shape[2:])], 1)

    def prepare(self, network: Any, model: Any) -> None:
        type(network).from_transformer(network, model)

    def residuals(
        self, network: Any, model: Any, x: Tensor, t: Tensor, inputs: Inputs, seen: Tensor, scale: Tensor,
        mode: int | None,
    ) -> dict[str, Sequence[Tensor]]:
        found = network(list(x.unsqueeze(2)), 1 - t, list(inputs["text"]), list(seen.unsqueeze(2)), scale)
        return {"controlnet_block_samples": [*found.values()]}

    def laid(self, residuals: Sequence[Tensor], blocks: int, network: Any) -> dict[int, Tensor]:
        return dict(zip(network.config.control_layers_places, residuals))

    def given(self, places: Mapping[int, Tensor]) -> Any:
        return dict(places)


class ZImage(Family):
    """The last layer but one of Qwen3 for the words; one stream of 2 x 2 latents and words.

    Its time runs from noise to image, and its prediction points there as well: both are turned round here. A guidance
    of g in its pipeline is a CFG Scale of g + 1.
    """

    name = "Z-Image"
    networks = (pipelines.Z_IMAGE,)
    attention = (
        Attention(r"noise_refiner\.\d+\.attention", "self"),
        Attention(r"layers\.\d+\.attention", stream="single", image_first=True, filled=32),
    )
    reads = frozenset({"text", "length"})
    reading = Reading("tokenizer", 512, 3)
    controls = ZImageControls()

    def encode(self, pipe: Any, text: str) -> dict[str, Tensor]:
        longest = self.reading.tokens
        (words,), _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=longest)
        return {"text": words[None], "length": torch.tensor([len(words)])}

    def predict(self, model: Any, x: Tensor, t: Tensor, inputs: Inputs) -> Tensor:
        out = model(list(x.unsqueeze(2)), 1 - t, list(inputs["text"]), return_dict=False)[0]
        return -torch.stack(list(out)).squeeze(2)
