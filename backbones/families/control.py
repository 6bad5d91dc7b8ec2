"""ControlNets of the families of diffusion transformers: what most of them share. Each family's own are in its file."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from backbones.autoencoder import Autoencoder
from backbones.controlnets import Config, Kind
from backbones.controls import Control, Opener, Residuals, Shown, check_map, weighed
from backbones.latent import Inputs


class FamilyControls(Kind):
    """Those of one family. It has no state. A map is read as its latents, in the family's own autoencoder.

    As with UNets every row is by itself: beside the negative prompt a ControlNet reads the negative prompt. (diffusers'
    pipelines of FLUX.1 and Qwen-Image give the residuals of the prompt to both.)
    """

    blocks: Mapping[str, str]  # input of the model that takes residuals -> its blocks that they are added to

    @abstractmethod
    def residuals(
        self, network: Any, model: Any, x: Tensor, t: Tensor, inputs: Inputs, seen: Tensor, scale: Tensor,
        mode: int | None,
    ) -> dict[str, Sequence[Tensor]]:
        """What a ControlNet makes of a map, by the inputs of `blocks`, from the first of its blocks to the last.

        x, t, inputs: as `Family.predict` has them. scale: the weight (B, 1, 1). mode: of a union.
        """

    def reads_pixels(self, config: Config) -> bool:
        """Whether a ControlNet of this config reads the map itself, in [-1, 1], instead of its latents."""
        return False

    def read(self, where: str, config: Config, images: Autoencoder, shown: Tensor) -> Tensor:
        """What it reads of a map (B, 3, H, W) in [0, 1]; where: it is, config: its own."""
        return shown * 2 - 1 if self.reads_pixels(config) else images.encode(shown)

    def prepare(self, network: Any, model: Any) -> None:
        """Gives a ControlNet what it shares with the model."""

    def laid(self, residuals: Sequence[Tensor], blocks: int, network: Any) -> dict[int, Tensor]:
        """Fewer residuals than blocks of the model: each for as many blocks, the last for what is left."""
        each = ceil(blocks / len(residuals))
        return {i: residuals[i // each] for i in range(blocks)}

    def given(self, places: Mapping[int, Tensor]) -> Any:
        """The residuals of all blocks as the model takes them."""
        return [places[i] for i in sorted(places)]

    def inputs(self, residuals: Residuals) -> dict[str, Any]:
        """For `backbones.transformer.AsUNet`."""
        return {"residuals": {name: self.given(places) for name, places in residuals.items()}}

    def opener(self, model: Any, span: float, images: Autoencoder, device: torch.device, dtype: torch.dtype) -> Opener:
        """What opens them for a model. span: of its timesteps. images: its autoencoder."""

        def beside(network: Any) -> Control:
            self.prepare(network, model)
            return BesideTransformer(network, self, model, span, images.factor)

        def read(where: str, config: Config, shown: Tensor) -> Tensor:
            return self.read(where, config, images, shown)

        return Opener(self, model.config, device, dtype, beside, self.inputs, read)


class BesideTransformer(Control):
    """A ControlNet beside a diffusion transformer."""

    def __init__(self, network: Any, controls: FamilyControls, model: Any, span: float, pixels: int):
        """pixels: to a latent's side."""
        super().__init__(network)
        self.controls, self.model, self.span, self.pixels = controls, model, span, pixels

    def forward(self, x: Tensor, t: Tensor, text: Tensor, maps: Sequence[Shown], added: Any) -> Residuals:
        (one,) = maps
        reads_pixels = self.controls.reads_pixels(self.network.config)
        check_map(one.seen, x, self.pixels if reads_pixels else 1, self.pixels)
        scale, part = one.weight[:, :1, None], torch.stack([torch.ones_like(one.weight[:, 1]), one.weight[:, 1]], 1)
        inputs = {"text": text, **added}
        found = self.controls.residuals(
            self.network, self.model, x, t / self.span, inputs, one.seen, scale, one.mode
        )
        rest = weighed([residual for those in found.values() for residual in those], part)
        laid: Residuals = {}
        for name, those in found.items():
            mine, rest = rest[: len(those)], rest[len(those) :]
            if mine:
                blocks = len(getattr(self.model, self.controls.blocks[name]))
                laid[name] = self.controls.laid(mine, blocks, self.network)
        return laid


def width(config: Config) -> int:
    """Of the tokens inside."""
    return int(config["num_attention_heads"]) * int(config["attention_head_dim"])
