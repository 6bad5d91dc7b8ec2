"""Z-Image (Tongyi 2025, arXiv 2511.22699)."""

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from backbones import pipelines
from backbones.autoencoder import Autoencoder
from backbones.families.control import FamilyControls
from backbones.families.family import Config, Family, Reading
from backbones.latent import Inputs
from backbones.original_layout import Shapes, Source, Sources
from backbones.token_attention import Attention

LAYERS = 30


def _any(file: Path, name: str) -> bool:
    """Whether a tensor of a file has anything but zeros."""
    with safe_open(file, "pt") as stored:
        return bool(stored.get_tensor(name).any())


def _mirrored(module: nn.Module) -> nn.Module:
    """The same layers in modules of their own."""
    if not module._modules:
        return module
    made = copy.copy(module)
    made._forward_hooks, made._forward_pre_hooks = OrderedDict(), OrderedDict()
    made._modules = {name: one and _mirrored(one) for name, one in module._modules.items()}
    return made


class ZImageControls(FamilyControls):
    """ZImageControlNetModel: it has its embeddings and its first layers from the model, and names the layers that its
    residuals are for."""

    classes = {"ZImageControlNetModel": "ZImageControlNetModel"}
    form = "as a folder, or as a file as it is published (control_layers....)"
    blocks = {"controlnet_block_samples": "layers"}

    def shape(self, config: Config) -> dict[str, Any]:
        return {name: config.get(name) for name in ("dim", "n_heads", "n_refiner_layers")}

    def family(self, config: Config) -> str:
        return "Z-Image" if config.get("dim") == 3840 else ""

    def of_file(self, file: Path, shapes: Shapes) -> tuple[dict[str, Any], Sources]:
        """Alibaba PAI's files have no config. Their residuals are for layers that lie evenly. From the second version
        on they change what refines the image as well: by the layers themselves (2.0), or by layers of its own (2.1),
        which 2.0 has, too, without use: their first one is zero."""
        dim, patches = shapes["control_all_x_embedder.2-1.weight"]
        layers, refiners = ({name.split(".")[1] for name in shapes if name.startswith(f"{part}.")}
                            for part in ("control_layers", "control_noise_refiner"))  # fmt: skip
        head = shapes["control_layers.0.attention.norm_q.weight"][0]
        second, first = patches // 4 > 16, "control_noise_refiner.0.before_proj.weight"
        by = None
        if second:
            by = "control_noise_refiner" if first in shapes and _any(file, first) else "control_layers"
        config = dict(
            _class_name="ZImageControlNetModel", dim=dim, control_in_dim=patches // 4, n_heads=dim // head,
            n_kv_heads=shapes["control_layers.0.attention.to_k.weight"][0] // head,
            n_refiner_layers=len(refiners) or 2, add_control_noise_refiner=by,
            control_layers_places=[i * (LAYERS // len(layers)) for i in range(len(layers))],
            control_refiner_layers_places=[*range(len(refiners) or 2)] if second else None,
        )  # fmt: skip
        unread = "control_noise_refiner." if by == "control_layers" else "."
        return config, {name: Source(name) for name in shapes if not name.startswith(unread)}

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
        network.noise_refiner = _mirrored(model.noise_refiner)  # edits of the model's attention are not for this one

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
