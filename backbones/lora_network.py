"""LoRA and LyCORIS files at work: branches beside layers of a frozen network, there for the length of one call.

Nothing is written into the network's weights and nothing stays in it: with a weight of 0, or without the key of the
file, an ask is answered as if there were no file. Rows of one call may have a file at unlike weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from backbones import lora_files, lora_layers
from backbones.checkpoint_files import CheckpointError
from backbones.lora_files import Layer, LoraFile
from backbones.offload import running_on

Branches = Sequence[tuple[nn.Module, nn.Module]]  # (layer of the network, what is beside it)


def branches(file: LoraFile, networks: Mapping[str, nn.Module]) -> list[tuple[nn.Module, nn.Module]]:
    """Those of a file in these parts (of `lora_names.PARTS`) of a backbone, on the devices and in the dtypes of their
    networks. Raises CheckpointError where it is damaged or not finite."""
    modules = {part: dict(network.named_modules()) for part, network in networks.items()}
    found = lora_files.fit(file, {part: shapes_of(network) for part, network in networks.items()})
    made = []
    with safe_open(file.path, "pt") as stored:
        for layer, to in found.acting:
            places = [modules[layer.part][module] for module in to.modules]
            device = running_on(networks[layer.part])
            made += [*zip(places, _branches(layer, to.swapped, stored, places, device, file))]
    return made


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Its layers as `lora_files.fit` takes them."""
    return dict(lora_files.of_weights({name: tuple(one.shape) for name, one in network.named_parameters()}))


def _branches(
    layer: Layer, swapped: bool, stored: Any, places: Sequence[Any], device: torch.device, file: LoraFile
) -> list[nn.Module]:
    """One for each of the places, whose rows stand one below the other in the layer. swapped: see
    `lora_transformer_names.Target`."""
    tensors = {role: stored.get_tensor(key) for role, key in layer.keys.items()}
    for role, one in tensors.items():
        if not one.float().isfinite().all():
            raise CheckpointError(f"{file.path}: its weights are NaN or infinite ({layer.keys[role]}): get it again")
    alpha = float(tensors["alpha"].float()) if "alpha" in tensors else layer.alpha
    dtype = places[0].weight.dtype
    moved = {role: one.to(device, dtype) for role, one in tensors.items() if role != "alpha"}
    if len(places) == 1 and not swapped:
        return [lora_layers.branch(moved, alpha, layer.root).eval()]
    made: list[nn.Module] = []
    start = 0
    for place in places:
        end = start + len(place.weight)
        rows = [(end // 2, end), (start, end // 2)] if swapped else [(start, end)]
        made.append(lora_layers.branch(moved, alpha, layer.root, rows).eval())
        start = end
    return made


@contextmanager
def acting(weighed: Sequence[tuple[Branches, Tensor]]) -> Iterator[None]:
    """Branches beside their layers, each at its weight (B,) or (1,), until the end of the block."""
    hooks: list[Any] = []
    try:
        for made, weight in weighed:
            hooks += [layer.register_forward_hook(_beside(one, weight)) for layer, one in made]
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _beside(one: nn.Module, weight: Tensor) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        weights = weight.to(out)
        if len(out) > len(weights) > 1:  # tokens of all rows in one: those of a row follow each other
            weights = weights.repeat_interleave(len(out) // len(weights))
        return out + weights.reshape(-1, *[1] * (out.ndim - 1)) * one(layer, inputs[0])

    return hook


class WithLoras(nn.Module):
    """A network with LoRA files, called as a UNet is, with their weights (B,) among `added_cond_kwargs`."""

    def __init__(self, network: Any, keys: Sequence[str], files: Mapping[str, LoraFile]):
        """network: a UNet, or what stands in for one and calls it, or calls a transformer. keys: of cond. files: by
        these keys."""
        super().__init__()
        self.unet, self.config, self.keys = network, network.config, tuple(keys)
        self.key = "-".join([*([network.key] if hasattr(network, "key") else []), *self.keys])
        self.more: dict[str, Tensor] = {**getattr(network, "more", {}), **{key: torch.ones(2) for key in self.keys}}
        self.branches = [branches(files[key], {"network": innermost(network)}) for key in self.keys]

    def forward(self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: Any = None, **more: Any) -> Any:
        added = dict(added_cond_kwargs)
        weights = [added.pop(key) for key in self.keys]
        with acting(list(zip(self.branches, weights))):
            return self.unet(x, t, text, added_cond_kwargs=added or None, **more)


def innermost(network: nn.Module) -> nn.Module:
    """The UNet or transformer itself, of what stands in for it: see `Extensions` and `transformer.AsUNet`."""
    while isinstance(inner := getattr(network, "unet", getattr(network, "model", None)), nn.Module):
        network = inner
    return network


class AdaptedText:
    """A text encoder (`latent.TextEncoder`) that reads prompts with LoRA files in it."""

    def __init__(self, text: Any, weighed: Sequence[tuple[Branches, float]]):
        self._text = text
        self._weighed = [(made, torch.tensor([weight])) for made, weight in weighed]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._text, name)

    def encode(self, text: str, clip_skip: int = 1) -> dict[str, Tensor]:
        """One prompt -> its row of a cond."""
        with acting(self._weighed):
            return self._text.encode(text, clip_skip)
