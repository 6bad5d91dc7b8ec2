"""ControlNets at work beside a network: what they read, and the residuals that they add to what it computes."""

import hashlib
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from backbones import controlnets
from backbones.controlnets import Config, Kind, parted

#: Input of the network -> place in it -> what is added there, (B, ...).
Residuals = dict[str, dict[int, Tensor]]
KEPT = 8  # maps as they are read, so that a run whose weights are curves reads each once
SKIPS = "skips"  # the only input of UNets: from the finest skip to the coarsest, then the middle


class Shown(NamedTuple):
    """A map as a ControlNet reads it, (B, C, h, w); its weight (B, 2): of the last residual, and the part of it that
    the first has; of a union the mode."""

    seen: Tensor
    weight: Tensor
    mode: int | None = None


class Control(nn.Module, ABC):
    """A ControlNet of diffusers beside a network. network: frozen, on its device."""

    digest = ""  # a hash of it
    several = False  # whether it reads several maps in one evaluation, told apart by their modes
    example: Tensor | None = None  # a map of two rows, where the network is exported for another engine

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, text: Tensor, maps: Sequence[Shown], added: Any) -> Residuals:
        """What it adds for one map, or for `several`; x, t, text, added: what the network is asked with."""


class Controls(nn.Module):
    """The ControlNets of an ask, one for each map. Called, it gives further inputs of the network."""

    def __init__(self, controls: Sequence[Control], modes: Sequence[int | None], inputs: Callable[[Residuals], Any]):
        """inputs: residuals of them all -> further inputs of the network, by name."""
        super().__init__()
        self.controls, self.modes, self.inputs = nn.ModuleList(controls), modes, inputs

    def forward(self, x: Tensor, t: Tensor, text: Tensor, maps: Sequence[tuple[Tensor, Tensor]], added: Any) -> Any:
        """maps: (what is shown, weight) each, as in `Shown`."""
        calls: list[tuple[nn.Module, list[Shown]]] = []
        for control, (seen, weight), mode in zip(self.controls, maps, self.modes, strict=True):
            shown = Shown(seen, weight, mode)
            mates = next((those for one, those in calls if one is control and control.several), None)
            if mates is None:
                calls.append((control, [shown]))
            else:
                mates.append(shown)
        return self.inputs(joined([control(x, t, text, those, added) for control, those in calls]))


def joined(parts: Sequence[Residuals]) -> Residuals:
    """The sum of several at each place; places that are given the same residuals share one sum."""
    there: dict[str, dict[int, list[Tensor]]] = {}
    for part in parts:
        for name, residuals in part.items():
            for place, residual in residuals.items():
                there.setdefault(name, {}).setdefault(place, []).append(residual)
    made: dict[tuple[int, ...], Tensor] = {}

    def total(those: list[Tensor]) -> Tensor:
        key = tuple(map(id, those))
        if key not in made:
            made[key] = sum(those[1:], start=those[0])
        return made[key]

    return {name: {place: total(those) for place, those in places.items()} for name, places in there.items()}


class Opener:
    """Checks and opens ControlNets for one network; each is held once while it is in use, whatever its modes."""

    def __init__(
        self, kind: Kind, config: Config, device: torch.device, dtype: torch.dtype, beside: Callable[[Any], Control],
        inputs: Callable[[Residuals], Any], read: Callable[[str, Config, Tensor], Tensor] | None = None,
    ):  # fmt: skip
        """config: of the network. beside: a ControlNet of diffusers -> the same at work. inputs: see `Controls`. read:
        where a ControlNet is, its config and a map -> what it reads of that; the map itself where there is none."""
        self.kind, self.config, self.device, self.dtype = kind, config, device, dtype
        self.beside, self.inputs, self._read = beside, inputs, read
        self._open: weakref.WeakValueDictionary[str, Control] = weakref.WeakValueDictionary()
        self._seen: dict[tuple[str, bytes], Tensor] = {}

    def check(self, where: str) -> None:
        """See `backbones.controlnets.ready`."""
        controlnets.ready(parted(where)[0], self.config, self.kind)

    def open(self, wheres: Sequence[str]) -> tuple[Controls, str]:
        """Those of an ask, and a hash of them. Raises CheckpointError where one does not fit."""
        places = [parted(where) for where in wheres]
        controls = [self._one(place) for place, _ in places]
        keys = [one.digest if mode is None else f"{one.digest}.{mode}" for one, (_, mode) in zip(controls, places)]
        return Controls(controls, [mode for _, mode in places], self.inputs), "-".join(keys)

    def read(self, where: str, shown: Tensor) -> Tensor:
        """A map (B, 3, H, W) in [0, 1] as the ControlNet there reads it. Raises CheckpointError as `check` does."""
        if self._read is None:
            return shown
        place, _ = parted(where)
        key = place, hashlib.sha256(shown.detach().cpu().contiguous().numpy().tobytes()).digest()
        if key not in self._seen:
            while len(self._seen) >= KEPT:
                self._seen.pop(next(iter(self._seen)))
            config = controlnets.config_of(controlnets.ready(place, self.config, self.kind), self.kind)
            with torch.no_grad():
                self._seen[key] = self._read(place, config, shown)
        return self._seen[key]

    def _one(self, place: str) -> Control:
        control = self._open.get(place)
        if control is None:
            network, digest = controlnets.load(place, self.config, self.device, self.dtype, self.kind)
            self._open[place] = control = self.beside(network)
            control.digest = digest
        return control


# ---- of UNets --------------------------------------------------------------------------------------------------------


def of_unet(unet: Any, device: torch.device, dtype: torch.dtype) -> Opener:
    """What opens ControlNets for a UNet."""
    config = unet.config
    size = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]

    def beside(network: Any) -> Control:
        union = "num_control_type" in network.config
        return (UnionBesideUNet if union else BesideUNet)(network, size)

    return Opener(controlnets.UNETS, config, device, dtype, beside, _skips)


def _skips(residuals: Residuals) -> dict[str, Any]:
    """The residuals as diffusers' UNet takes them."""
    *down, mid = residuals[SKIPS].values()
    return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": mid}


class BesideUNet(Control):
    """ControlNetModel."""

    def __init__(self, network: Any, size: int):
        """size: latents along a side of the images that the UNet was made for."""
        super().__init__(network)
        self.pixels = 2 ** (len(network.config.conditioning_embedding_out_channels) - 1)  # to a latent's side
        self.example = torch.zeros(2, 3, size * self.pixels, size * self.pixels)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, maps: Sequence[Shown], added: Any) -> Residuals:
        (one,) = maps
        down, mid = self.network(
            self.noisy(x), t, text, self.fitted(one.seen, x), added_cond_kwargs=added, return_dict=False
        )
        return {SKIPS: dict(enumerate(weighed([*down, mid], one.weight)))}

    def noisy(self, x: Tensor) -> Tensor:
        """The noisy latents alone, without what an inpainting UNet reads beside them."""
        return x[:, : self.network.config.in_channels]

    def fitted(self, seen: Tensor, x: Tensor) -> Tensor:
        """The map (B, 3, H, W) in the channels that it takes. Raises ValueError for a map of another size."""
        check_map(seen, x, self.pixels, self.pixels)
        channels = self.network.config.conditioning_channels
        return seen if seen.shape[1] == channels else seen.mean(1, keepdim=True).expand(-1, channels, -1, -1)


class UnionBesideUNet(BesideUNet):
    """ControlNetUnionModel: its maps go into one evaluation, where a small transformer weighs them against each other,
    so that two of them are not the sum of each alone."""

    several = True

    def forward(self, x: Tensor, t: Tensor, text: Tensor, maps: Sequence[Shown], added: Any) -> Residuals:
        modes = [int(one.mode or 0) for one in maps]
        types = x.new_zeros(len(x), self.network.config.num_control_type)
        types[:, modes] = 1
        weights = torch.stack([one.weight for one in maps])  # (maps, B, 2)
        scales = [_ByRow(one.weight[:, 0]) for one in maps] if len(maps) > 1 else [1.0]  # of one after, as diffusers
        down, mid = self.network(
            self.noisy(x), t, text, [self.fitted(one.seen, x) for one in maps], control_type=types,
            control_type_idx=modes, conditioning_scale=scales, added_cond_kwargs=added, return_dict=False,
        )  # fmt: skip
        weight = weights[0]
        if len(maps) > 1:
            weight = torch.stack([(weights[..., 0] > 0).any(0).to(weight), weight[:, 1]], 1)
        return {SKIPS: dict(enumerate(weighed([*down, mid], weight)))}


class _ByRow:
    """A weight (B,) that multiplies tensors (B, ...) from the right, row by row, where diffusers expects a number."""

    def __init__(self, weight: Tensor):
        self.weight = weight

    def __rmul__(self, values: Tensor) -> Tensor:
        return values * self.weight.reshape(-1, *[1] * (values.ndim - 1))


def weighed(residuals: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    """From the first to the last, (B, ...) each, by weight (B, 2), evenly in the logarithm."""
    last = len(residuals) - 1
    parts = [weight[:, 0] * weight[:, 1] ** ((last - i) / max(last, 1)) for i in range(last + 1)]
    return [one * part.reshape(-1, *[1] * (one.ndim - 1)) for one, part in zip(residuals, parts)]


def check_map(seen: Tensor, x: Tensor, to_latent: int, pixels: int) -> None:
    """Raises ValueError for a map that is not of the size of the image x (B, C, h, w). to_latent: of what is seen along
    a side of a latent; pixels: likewise of the image."""
    have, want = [side * pixels // to_latent for side in seen.shape[-2:]], [side * pixels for side in x.shape[-2:]]
    if have != want:
        raise ValueError(f"the map has {have[1]} x {have[0]} pixels, and the image asked for has {want[1]} x {want[0]}"
                         ": give a map of that size")  # fmt: skip
