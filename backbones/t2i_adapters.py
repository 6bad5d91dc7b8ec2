"""T2I-Adapters of a UNet (Mou et al. 2023, arXiv 2302.08453): folders of diffusers' T2IAdapter, or ids of the Hub.

Those of a checkpoint lie beside it, `dream_t2i_adapters/depth`; $NINE_WAYS_T2I_ADAPTERS is a folder of more. See
`backbones.adapter_files`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import adapter_files, hub, hub_files
from backbones.checkpoint import check_loaded, quiet
from backbones.checkpoint_files import LIBRARIES, CheckpointError, weights
from backbones.controlnets import FAMILIES
from backbones.extensions import Extension
from backbones.hub import NotFetched, Tell
from backbones.names import Place, hub_place

OF_SD_1 = {  # what it reads -> id of the Hub
    "depth": "TencentARC/t2iadapter_depth_sd15v2", "edges": "TencentARC/t2iadapter_canny_sd15v2",
    "sketch": "TencentARC/t2iadapter_sketch_sd15v2", "depth by ZoeDepth": "TencentARC/t2iadapter_zoedepth_sd15v1",
    "pose": "TencentARC/t2iadapter_openpose_sd14v1", "segmentation": "TencentARC/t2iadapter_seg_sd14v1",
    "colours": "TencentARC/t2iadapter_color_sd14v1",
}  # fmt: skip
OF_SD_XL = {
    "depth": "TencentARC/t2i-adapter-depth-midas-sdxl-1.0", "edges": "TencentARC/t2i-adapter-canny-sdxl-1.0",
    "sketch": "TencentARC/t2i-adapter-sketch-sdxl-1.0",
    "depth by ZoeDepth": "TencentARC/t2i-adapter-depth-zoe-sdxl-1.0",
    "line art": "TencentARC/t2i-adapter-lineart-sdxl-1.0", "pose": "TencentARC/t2i-adapter-openpose-sdxl-1.0",
}  # fmt: skip
KNOWN = {"Stable Diffusion 1": OF_SD_1, "Stable Diffusion XL": OF_SD_XL}
TRAINED_FOR = {"full_adapter_xl": "Stable Diffusion XL"}  # by the adapter_type; the others for Stable Diffusion 1
KIND = "t2i_adapters"
PREFIX = "t2i_adapter:"  # of keys of cond: "t2i_adapter:0" and on, (B, C, h, w), what is added at each stage
CONFIG = "config.json"
Stages = list[tuple[int, int]]  # (channels, pixels to a cell), from the finest


def beside(folder: Path, config: Any, factor: int) -> dict[str, str]:
    """name -> folder or Hub id, for a checkpoint folder, its UNet's config (attributes) and pixels to a latent."""
    known = KNOWN.get(_family(config), {})
    wanted = stages(config, factor)
    return adapter_files.beside(folder, KIND, _in_folder, lambda where: _fits(_config(Path(where)), wanted), known)


def _in_folder(home: Path) -> dict[str, str]:
    return {one.parent.name: str(one.parent) for one in sorted(home.glob(f"*/{CONFIG}"))}


def _config(folder: Path) -> dict[str, Any]:
    """{} where it cannot be read."""
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _family(config: Any) -> str:
    return FAMILIES.get((config.cross_attention_dim, tuple(config.block_out_channels)), ("", {}))[0]


def stages(config: Any, factor: int) -> Stages:
    """What a UNet of this config takes between its blocks of the way down, in the order in which it takes them: with
    attention before a block's downsampling, without it behind that (diffusers' `down_intrablock_additional_residuals`).
    """
    found, last = [], len(config.down_block_types) - 1
    for i, (kind, channels) in enumerate(zip(config.down_block_types, config.block_out_channels)):
        behind = 2 if i < last else 1
        found.append((channels, factor if "CrossAttn" in kind else factor * behind))
        factor *= behind
    return found


def middle(config: Any, factor: int) -> tuple[int, int]:
    """What its middle block takes, behind all of them."""
    return config.block_out_channels[-1], factor * 2 ** (len(config.down_block_types) - 1)


def features_of(config: Mapping[str, Any]) -> Stages:
    """What an adapter of this config makes. Raises KeyError or TypeError where it lacks something."""
    channels, factor = list(config["channels"]), int(config["downscale_factor"])
    if config["adapter_type"] == "full_adapter_xl":
        return [(one, factor * (1 if i < 2 else 2)) for i, one in enumerate(channels)]
    if config["adapter_type"] == "light_adapter":
        channels.append(channels[-1])
    return [(one, factor * 2**i) for i, one in enumerate(channels)]


def _fits(config: Mapping[str, Any], wanted: Stages) -> bool:
    try:
        return config.get("_class_name") == "T2IAdapter" and features_of(config)[: len(wanted)] == wanted
    except (KeyError, TypeError):
        return False


class T2IAdapters:
    """Those that a UNet has. Asked once a run: what they make of a map is kept for the next steps."""

    prefix = PREFIX

    def __init__(self, id: str, folder: Path, unet: Any, factor: int, device: torch.device, dtype: torch.dtype):
        """id, folder: of the checkpoint. unet: its UNet2DConditionModel. factor: pixels to a latent."""
        self.id, self.device, self.dtype = id, device, dtype
        self.there = beside(folder, unet.config, factor)
        self.names = tuple(self.there)
        self.family, self.stages = _family(unet.config), stages(unet.config, factor)
        self.middle = middle(unet.config, factor)
        size = unet.config.sample_size if isinstance(unet.config.sample_size, int) else unet.config.sample_size[0]
        self._side = size * factor
        self._answers = adapter_files.Answers()

    def check(self, name: str) -> None:
        """See `adapter_files.Adapters`."""
        self._ready(name)

    def features(self, name: str, shown: Tensor) -> list[Tensor]:
        """What is added at each stage for a map (B, 3, H, W) in [0, 1]: (B, C, h, w) float32, from the finest.

        Raises ValueError where there is none of that name, it does not fit, or the map's sides are no multiples of its
        cells; and what `check` raises.
        """
        folder = self._ready(name)
        return self._answers.of(str(folder), [shown], lambda: self._made(folder, shown))

    def keys(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """The further keys of an ask that has these."""
        return {f"{PREFIX}{i}": one for i, one in enumerate(features)}

    @property
    def extension(self) -> Extension:
        """See `adapter_files.Adapters`."""
        return self._extended

    def _extended(self, network: Any, keys: tuple[str, ...]) -> "WithFeatures":
        examples = {
            key: torch.zeros(2, channels, self._side // cell, self._side // cell)
            for key, (channels, cell) in zip(sorted(keys), [*self.stages, self.middle])
        }
        return WithFeatures(network, keys, examples)

    def _ready(self, name: str) -> Path:
        return adapter_files.checked(self.id, "T2I-Adapter", name, self.there, self._found)

    def _found(self, where: str) -> Path:
        """The folder of one that fits. Raises CheckpointError and NotFetched; of the Hub its config is asked first."""
        place = hub_place(where)
        folder = Path(where) if place is None else hub.cached(place, CONFIG)
        if folder is not None:
            self._check(where, _config(folder))
            try:
                weights(folder.parent, folder.name, "diffusers")
                return folder
            except CheckpointError:
                if place is None:
                    raise
        assert place is not None
        raise NotFetched(place, f"the T2I-Adapter {where}", lambda tell: self._fetch(place, tell))

    def _fetch(self, place: Place, tell: Tell) -> Path:
        repository = hub.look(place)
        self._check(str(place), hub.read_json(repository, CONFIG) if CONFIG in repository.sizes else {})
        files = hub_files.weights(str(place), repository.inside(""), LIBRARIES["diffusers"])
        return hub.fetch(repository, [CONFIG, *files], tell)

    def _check(self, where: str, config: Mapping[str, Any]) -> None:
        kind = config.get("_class_name")
        if kind != "T2IAdapter":
            known = f"a {kind}" if kind else "nothing that is known"
            raise CheckpointError(f"the T2I-Adapter {where} is {known} by its {CONFIG}: what fits is a folder "
                                  "of diffusers' T2IAdapter")  # fmt: skip
        if not _fits(config, self.stages):
            made_for = TRAINED_FOR.get(str(config.get("adapter_type")), "Stable Diffusion 1")
            try:
                own = _said(features_of(config))
            except (KeyError, TypeError):
                own = "nothing that is known"
            raise CheckpointError(f"the T2I-Adapter {where} makes {own}, and this network takes {_said(self.stages)}: "
                                  f"it was made for networks such as {made_for}, take one that was trained for "
                                  f"{self.family or 'this one'}")  # fmt: skip

    @torch.no_grad()
    def _made(self, folder: Path, shown: Tensor) -> list[Tensor]:
        adapter = self._load(folder)
        cell = int(adapter.config.downscale_factor)
        if shown.shape[-1] % cell or shown.shape[-2] % cell:
            raise ValueError(f"the map has {shown.shape[-1]} x {shown.shape[-2]} pixels, and this T2I-Adapter reads "
                             f"cells of {cell} x {cell}: give a width and a height that are multiples of {cell}")
        channels = int(adapter.config.in_channels)
        given = shown if shown.shape[1] == channels else shown.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        taken = [*self.stages, self.middle] if features_of(adapter.config)[len(self.stages) :][:1] == [self.middle] \
            else self.stages  # the middle block takes one more where it fits, as SDXL's does
        return [one.float() for one, _ in zip(adapter(given.to(self.device, self.dtype)), taken)]

    def _load(self, folder: Path) -> Any:
        from diffusers import T2IAdapter

        try:
            with quiet():
                adapter, found = T2IAdapter.from_pretrained(
                    folder, torch_dtype=self.dtype, use_safetensors=True, output_loading_info=True,
                    local_files_only=True, variant=weights(folder.parent, folder.name, "diffusers").variant or None,
                )  # fmt: skip
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise CheckpointError(f"the T2I-Adapter {folder} could not be loaded: {lines[0]}") from error
        check_loaded(f"the T2I-Adapter {folder}", adapter, found)
        return adapter.to(self.device).eval()


def _said(stages: Stages) -> str:
    return ", ".join(f"{channels} channels at {cell} pixels a cell" for channels, cell in stages)


class WithFeatures(nn.Module):
    """A UNet that is called as it is, with what T2I-Adapters add at its stages among `added_cond_kwargs`."""

    def __init__(self, unet: Any, keys: Sequence[str], examples: Mapping[str, Tensor]):
        super().__init__()
        self.unet, self.config, self.keys = unet, unet.config, sorted(keys)
        self.key = "-".join([*([unet.key] if hasattr(unet, "key") else []), f"t2i{len(keys)}"])
        self.more: dict[str, Tensor] = {**getattr(unet, "more", {}), **examples}

    def forward(self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: Any = None, **more: Any) -> Any:
        added = dict(added_cond_kwargs)
        features = [added.pop(key) for key in self.keys]
        return self.unet(
            x, t, text, added_cond_kwargs=added or None, down_intrablock_additional_residuals=features, **more
        )
