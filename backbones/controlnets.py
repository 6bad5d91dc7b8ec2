"""Which ControlNets go with a backbone, and opening them: folders of diffusers' ControlNetModel, files in the layout in
which the first ones were published, or ids of the Hub.

Those of a checkpoint lie beside it, each under the name that it has on the page:
`still_life_controlnets/depth` goes with `still_life`, `dream_controlnets/pose` with `dream.safetensors`.
$NINE_WAYS_CONTROLNETS is a folder of more, for any checkpoints: of these a checkpoint has those that fit it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from backbones import hub, hub_files, original_layout
from backbones.checkpoint import check_loaded, digest, quiet, revision
from backbones.checkpoint_files import LIBRARIES, CheckpointError, header, weights
from backbones.hub import NotFetched, Tell
from backbones.names import Place, hub_place, local
from backbones.single_file import filled, origin
from backbones.single_file_kind import check_scales

OF_SD_1 = {  # condition -> id of the Hub
    "depth": "lllyasviel/control_v11f1p_sd15_depth", "edges": "lllyasviel/control_v11p_sd15_canny",
    "pose": "lllyasviel/control_v11p_sd15_openpose", "scribble": "lllyasviel/control_v11p_sd15_scribble",
    "line art": "lllyasviel/control_v11p_sd15_lineart", "soft edges": "lllyasviel/control_v11p_sd15_softedge",
    "segmentation": "lllyasviel/control_v11p_sd15_seg", "normals": "lllyasviel/control_v11p_sd15_normalbae",
    "straight lines": "lllyasviel/control_v11p_sd15_mlsd", "tile": "lllyasviel/control_v11f1e_sd15_tile",
}  # fmt: skip
OF_SD_XL = {
    "depth": "diffusers/controlnet-depth-sdxl-1.0", "edges": "diffusers/controlnet-canny-sdxl-1.0",
}  # fmt: skip
#: (features of the text, widths of the UNet) -> its family, and the ControlNets that are known for it.
FAMILIES: dict[tuple[int, tuple[int, ...]], tuple[str, Mapping[str, str]]] = {
    (768, (320, 640, 1280, 1280)): ("Stable Diffusion 1", OF_SD_1),
    (1024, (320, 640, 1280, 1280)): ("Stable Diffusion 2", {}),
    (2048, (320, 640, 1280)): ("Stable Diffusion XL", OF_SD_XL),
}
FITTING = ("cross_attention_dim", "block_out_channels", "layers_per_block")  # of a config, the same as the UNet's
CONFIG = "config.json"


def beside(folder: Path, config: Any) -> dict[str, str]:
    """name -> folder, file or Hub id, for a checkpoint folder and its UNet's config (attributes): those that lie
    beside it, before those of $NINE_WAYS_CONTROLNETS that fit, before those that are known of its family."""
    _, known = FAMILIES.get((config.cross_attention_dim, tuple(config.block_out_channels)), ("", {}))
    folder = origin(folder)
    own = _in_folder(folder.with_name(folder.name + "_controlnets"))
    shared = os.environ.get("NINE_WAYS_CONTROLNETS")
    wanted = {name: getattr(config, name, None) for name in FITTING}
    more = {name: where for name, where in _in_folder(local(shared)).items()
            if not _misfit(_config(Path(where)), wanted)} if shared else {}  # fmt: skip
    return {**known, **more, **own}


def _in_folder(home: Path) -> dict[str, str]:
    files = {one.stem: str(one) for one in sorted(home.glob("*.safetensors"))}
    return files | {one.parent.name: str(one.parent) for one in sorted(home.glob(f"*/{CONFIG}"))}


def _config(folder: Path) -> dict[str, Any]:
    """Of a folder, or of a file in the layout in which the first ControlNets were published; {} where it cannot be
    read."""
    if folder.is_file():
        return _config_of_file(folder)
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _config_of_file(file: Path) -> dict[str, Any]:
    try:
        return original_layout.controlnet_config(_within(header(file).shapes)[0])
    except (CheckpointError, KeyError, IndexError, ValueError, StopIteration):
        return {}


def _within(shapes: original_layout.Shapes) -> tuple[dict[str, tuple[int, ...]], str]:
    """The tensors of a ControlNet in a file, and how their names begin there."""
    beginning = original_layout.first_of((original_layout.CONTROLNET,), shapes)
    return original_layout.within(shapes, beginning), beginning


def ready(where: str, unet: Mapping[str, Any]) -> Path:
    """The folder or file of a ControlNet that fits a UNet of this config. where: a folder, a file or an id of the Hub.

    Raises CheckpointError where it does not fit, and NotFetched for one of the Hub that is not here yet: to fetch it
    asks for its config first, and refuses one that does not fit before any weights.
    """
    place = hub_place(where)
    folder = Path(where) if place is None else hub.cached(place, CONFIG)
    if folder is not None:
        if folder.is_file():
            check_scales(folder, header(folder))
        _check_fits(where, _config(folder), unet)
        if folder.is_file():
            return folder
        try:
            weights(folder.parent, folder.name, "diffusers")
            return folder
        except CheckpointError:
            if place is None:
                raise
    assert place is not None
    raise NotFetched(place, f"the ControlNet {where}", lambda tell: _fetched(place, unet, tell))


def _fetched(place: Place, unet: Mapping[str, Any], tell: Tell) -> Path:
    repository = hub.look(place)
    if CONFIG not in repository.sizes:
        raise CheckpointError(f"{place} has no {CONFIG} on the Hugging Face Hub, so it is no ControlNet in diffusers' "
                              "layout")  # fmt: skip
    _check_fits(str(place), hub.read_json(repository, CONFIG), unet)
    files = hub_files.weights(str(place), repository.inside(""), LIBRARIES["diffusers"])
    return hub.fetch(repository, [CONFIG, *files], tell)


def _check_fits(where: str, config: Mapping[str, Any], unet: Mapping[str, Any]) -> None:
    """Raises CheckpointError, with what would fit, where its residuals have other shapes than the UNet's skips."""
    kind = config.get("_class_name")
    if kind != "ControlNetModel":
        raise CheckpointError(f"the ControlNet {where} is {f'a {kind}' if kind else 'nothing that is known'} by its "
                              f"{CONFIG} or its tensors: what fits is a ControlNetModel of diffusers, as a folder, or "
                              "as a file in the original layout (control_model....)")  # fmt: skip
    if name := _misfit(config, unet):
        own, theirs = (_plain(one.get(name)) for one in (config, unet))
        made_for, family = _family(config), _family(unet)
        raise CheckpointError(f"the ControlNet {where} has {name} {own} and this network {theirs}: it was trained for "
                              f"{made_for or 'another family of checkpoints'}, take one that was trained for "
                              f"{family or 'this one'}")  # fmt: skip


def _misfit(config: Mapping[str, Any], unet: Mapping[str, Any]) -> str:
    """The first setting that is not the UNet's; "" where it fits."""
    return next((name for name in FITTING if _plain(config.get(name)) != _plain(unet.get(name))), "")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _family(config: Mapping[str, Any]) -> str:
    """What a network of this config belongs to, in words; "" where that is not known."""
    widths = _plain(config.get("block_out_channels"))
    return FAMILIES.get((config.get("cross_attention_dim", 0), widths), ("", {}))[0]


def load(where: str, unet: Any, device: torch.device, dtype: torch.dtype) -> tuple[Any, str]:
    """A ControlNetModel, frozen, and a hash of it. Raises CheckpointError where it cannot be had or does not fit, and
    NotFetched; see `ready`. Safetensors only."""
    from diffusers import ControlNetModel

    folder = ready(where, unet.config)
    if folder.is_file():
        return _of_file(folder, device, dtype)
    try:
        with quiet():
            network, found = ControlNetModel.from_pretrained(
                folder, torch_dtype=dtype, use_safetensors=True, output_loading_info=True, local_files_only=True,
                variant=weights(folder.parent, folder.name, "diffusers").variant or None,
            )  # fmt: skip
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"the ControlNet {where} could not be loaded: {lines[0]}") from error
    check_loaded(f"the ControlNet {where}", network, found)
    return network.to(device).eval().requires_grad_(False), revision(folder)


def _of_file(file: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, str]:
    from accelerate import init_empty_weights
    from diffusers import ControlNetModel

    net, beginning = _within(header(file).shapes)
    with init_empty_weights():
        network = ControlNetModel.from_config(_config_of_file(file))
    found = filled(network, file, original_layout.unet_sources(net, beginning), dtype)
    check_loaded(f"the ControlNet {file}", network, found)
    return network.to(device).eval().requires_grad_(False), digest(file)[:16]
