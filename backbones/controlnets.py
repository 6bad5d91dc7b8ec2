"""Which ControlNets go with a backbone, and opening them: folders of diffusers' classes, files in the layout in which
the first ones were published, or ids of the Hub.

Those of a checkpoint lie beside it, each under the name that it has on the page:
`still_life_controlnets/depth` goes with `still_life`, `dream_controlnets/pose` with `dream.safetensors`.
$NINE_WAYS_CONTROLNETS is a folder of more, for any checkpoints: of these a checkpoint has those that fit it. One that
was trained on several sorts of maps, and is told which (a union), has a name for each of its modes.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from backbones import hub, hub_files, original_layout
from backbones.checkpoint import check_loaded, digest, quiet, revision
from backbones.checkpoint_files import LIBRARIES, CheckpointError, header, weights
from backbones.hub import NotFetched, Tell
from backbones.names import Place, hub_place, local
from backbones.original_layout import Shapes, Sources
from backbones.single_file import filled, origin
from backbones.single_file_kind import check_scales

CONFIG = "config.json"
Config = Mapping[str, Any]  # of a ControlNet, or of the network that it is to go with


class Kind(ABC):
    """The ControlNets of one kind of networks, as far as their configs say."""

    classes: Mapping[str, str]  # what a config calls them -> class of diffusers
    form: str = "as a folder"  # in which they are read, in words

    @abstractmethod
    def shape(self, config: Config) -> dict[str, Any]:
        """What has to be the same of both, by its name in words; None where it is not said, and anything goes."""

    @abstractmethod
    def family(self, config: Config) -> str:
        """What a network of this config belongs to, in words; "" where that is not known."""

    def known(self, config: Config) -> Mapping[str, str]:
        """Name on the page -> where, of the usual ones of the Hub for a network of this config."""
        return {}

    def modes(self, config: Config) -> tuple[str, ...]:
        """Of a union the names of its modes, in their order."""
        return ()

    def check(self, config: Config, network: Config) -> str:
        """What else is wrong with a ControlNet of this config, in words; "" where nothing is."""
        return ""

    def of_file(self, file: Path, shapes: Shapes) -> tuple[dict[str, Any], Sources]:
        """The config, with its class, and which tensor becomes which weight, of a file without a config; {} where it is
        none of these. Raises KeyError, IndexError, ValueError or StopIteration likewise. shapes: of its tensors."""
        return {}, {}

    def of(self, config: Config) -> str:
        """The class of diffusers; "" where it is none of these."""
        return self.classes.get(str(config.get("_class_name")), "")


OF_SD_1 = {  # condition -> id of the Hub
    "depth": "lllyasviel/control_v11f1p_sd15_depth", "edges": "lllyasviel/control_v11p_sd15_canny",
    "pose": "lllyasviel/control_v11p_sd15_openpose", "scribble": "lllyasviel/control_v11p_sd15_scribble",
    "line art": "lllyasviel/control_v11p_sd15_lineart", "soft edge": "lllyasviel/control_v11p_sd15_softedge",
    "segmentation": "lllyasviel/control_v11p_sd15_seg", "normals": "lllyasviel/control_v11p_sd15_normalbae",
    "straight lines": "lllyasviel/control_v11p_sd15_mlsd", "tile": "lllyasviel/control_v11f1e_sd15_tile",
}  # fmt: skip
UNION_XL = "xinsir/controlnet-union-sdxl-1.0"
MODES_XL = ("pose", "depth", "soft edge", "edges", "normals", "segmentation", "tile")  # the last of its "promax" alone
OF_SD_XL = {
    **{mode: f"{UNION_XL}?{i}" for i, mode in enumerate(MODES_XL[:6])},
    "depth": "diffusers/controlnet-depth-sdxl-1.0", "edges": "diffusers/controlnet-canny-sdxl-1.0",
}  # fmt: skip
#: (features of the text, widths of the UNet) -> its family, and the ControlNets that are known for it.
FAMILIES: dict[tuple[int, tuple[int, ...]], tuple[str, Mapping[str, str]]] = {
    (768, (320, 640, 1280, 1280)): ("Stable Diffusion 1", OF_SD_1),
    (1024, (320, 640, 1280, 1280)): ("Stable Diffusion 2", {}),
    (2048, (320, 640, 1280)): ("Stable Diffusion XL", OF_SD_XL),
}


class UNets(Kind):
    """Of text-to-image UNets: plain ones, and SDXL's unions (xinsir's ControlNet++)."""

    classes = {"ControlNetModel": "ControlNetModel", "ControlNetUnionModel": "ControlNetUnionModel"}
    form = "as a folder, or as a file in the original layout (control_model....)"

    def shape(self, config: Config) -> dict[str, Any]:
        """Residuals of the shapes of the UNet's skips, and the text that it reads."""
        names = ("cross_attention_dim", "block_out_channels", "layers_per_block")
        return {name: plain(config.get(name)) for name in names}

    def family(self, config: Config) -> str:
        return self._entry(config)[0]

    def known(self, config: Config) -> Mapping[str, str]:
        return self._entry(config)[1]

    def _entry(self, config: Config) -> tuple[str, Mapping[str, str]]:
        key = config.get("cross_attention_dim", 0), plain(config.get("block_out_channels"))
        return FAMILIES.get(key, ("", {}))

    def of_file(self, file: Path, shapes: Shapes) -> tuple[dict[str, Any], Sources]:
        beginning = original_layout.first_of((original_layout.CONTROLNET,), shapes)
        net = original_layout.within(shapes, beginning)
        return original_layout.controlnet_config(net), original_layout.unet_sources(net, beginning)

    def of(self, config: Config) -> str:
        """A union was saved by a class of its authors, under whatever name."""
        return "ControlNetUnionModel" if "num_control_type" in config else super().of(config)

    def modes(self, config: Config) -> tuple[str, ...]:
        return MODES_XL[: int(config.get("num_control_type") or 0)]


UNETS = UNets()


def beside(folder: Path, config: Config, kind: Kind = UNETS) -> dict[str, str]:
    """name -> folder, file or Hub id, for a checkpoint folder and its network's config: those that lie beside it,
    before those of $NINE_WAYS_CONTROLNETS that fit, before those that are known of its family."""
    folder = origin(folder)
    own = _in_folder(folder.with_name(folder.name + "_controlnets"))
    shared = os.environ.get("NINE_WAYS_CONTROLNETS")
    more = {name: where for name, where in _in_folder(local(shared)).items()
            if not _misfit(where, config_of(Path(where), kind), config, kind)} if shared else {}  # fmt: skip
    return {**kind.known(config), **_by_mode(more, kind), **_by_mode(own, kind)}


def _in_folder(home: Path) -> dict[str, str]:
    files = {one.stem: str(one) for one in sorted(home.glob("*.safetensors"))}
    return files | {one.parent.name: str(one.parent) for one in sorted(home.glob(f"*/{CONFIG}"))}


def _by_mode(found: Mapping[str, str], kind: Kind) -> dict[str, str]:
    """Each union as its modes: by the name of the mode where that is free, else behind that of the union."""
    modes = {name: kind.modes(config_of(Path(where), kind)) for name, where in found.items() if Path(where).is_dir()}
    named = {name: where for name, where in found.items() if not modes.get(name)}
    for name, those in modes.items():
        for i, mode in enumerate(those):
            named[f"{name}: {mode}" if mode in named else mode] = f"{found[name]}?{i}"
    return named


def parted(where: str) -> tuple[str, int | None]:
    """A folder, a file or an id, and the mode of a union behind its ?."""
    place, mark, mode = where.rpartition("?")
    return (place, int(mode)) if mark and mode.isdecimal() else (where, None)


def config_of(folder: Path, kind: Kind) -> dict[str, Any]:
    """Of a folder, or of a file without one; {} where it cannot be read."""
    if folder.is_file():
        return _of_shapes(folder, kind)[0]
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_shapes(file: Path, kind: Kind) -> tuple[dict[str, Any], Sources]:
    try:
        return kind.of_file(file, header(file).shapes)
    except (CheckpointError, KeyError, IndexError, ValueError, StopIteration):
        return {}, {}


def ready(where: str, network: Config, kind: Kind = UNETS) -> Path:
    """The folder or file of a ControlNet that fits a network of this config. where: a folder, a file or an id of the
    Hub, without a mode.

    Raises CheckpointError where it does not fit, and NotFetched for one of the Hub that is not here yet: to fetch it
    asks for its config first, and refuses one that does not fit before any weights.
    """
    place = hub_place(where)
    folder = Path(where) if place is None else hub.cached(place, CONFIG)
    if folder is not None:
        if folder.is_file():
            check_scales(folder, header(folder))
        _check_fits(where, config_of(folder, kind), network, kind)
        if folder.is_file():
            return folder
        try:
            weights(folder.parent, folder.name, "diffusers")
            return folder
        except CheckpointError:
            if place is None:
                raise
    assert place is not None
    raise NotFetched(place, f"the ControlNet {where}", lambda tell: _fetched(place, network, kind, tell))


def _fetched(place: Place, network: Config, kind: Kind, tell: Tell) -> Path:
    repository = hub.look(place)
    if CONFIG not in repository.sizes:
        raise CheckpointError(f"{place} has no {CONFIG} on the Hugging Face Hub, so it is no ControlNet in diffusers' "
                              "layout")  # fmt: skip
    _check_fits(str(place), hub.read_json(repository, CONFIG), network, kind)
    files = hub_files.weights(str(place), repository.inside(""), LIBRARIES["diffusers"])
    return hub.fetch(repository, [CONFIG, *files], tell)


def _check_fits(where: str, config: Config, network: Config, kind: Kind) -> None:
    """Raises CheckpointError, with what would fit, where a ControlNet of this config cannot go with the network."""
    if words := _misfit(where, config, network, kind):
        raise CheckpointError(words)


def _misfit(where: str, config: Config, network: Config, kind: Kind) -> str:
    """Why a ControlNet of this config does not go with the network, in words; "" where it does."""
    if not kind.of(config):
        found = f"a {said}" if (said := config.get("_class_name")) else "nothing that is known"
        return (f"the ControlNet {where} is {found} by its {CONFIG} or its tensors: what fits is a "
                f"{next(iter(kind.classes))} of diffusers, {kind.form}")  # fmt: skip
    own, theirs = kind.shape(config), kind.shape(network)
    for name, value in own.items():
        if value is not None and value != theirs[name]:
            made_for, family = kind.family(config), kind.family(network)
            return (f"the ControlNet {where} has {name} {value} and this network {theirs[name]}: it was trained for "
                    f"{made_for or 'another family of checkpoints'}, take one that was trained for "
                    f"{family or 'this one'}")  # fmt: skip
    wrong = kind.check(config, network)
    return wrong and f"the ControlNet {where} {wrong}"


def plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def load(
    where: str, network: Config, device: torch.device, dtype: torch.dtype, kind: Kind = UNETS
) -> tuple[Any, str]:
    """A ControlNet of diffusers, frozen, and a hash of it; network: the config of what it is to go with. Raises
    CheckpointError where it cannot be had or does not fit, and NotFetched; see `ready`. Safetensors only."""
    import diffusers

    folder = ready(where, network, kind)
    if folder.is_file():
        return _of_file(folder, device, dtype, kind)
    try:
        with quiet():
            opened, found = getattr(diffusers, kind.of(config_of(folder, kind))).from_pretrained(
                folder, torch_dtype=dtype, use_safetensors=True, output_loading_info=True, local_files_only=True,
                variant=weights(folder.parent, folder.name, "diffusers").variant or None,
            )  # fmt: skip
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"the ControlNet {where} could not be loaded: {lines[0]}") from error
    check_loaded(f"the ControlNet {where}", opened, found)
    return opened.to(device).eval().requires_grad_(False), revision(folder)


def _of_file(file: Path, device: torch.device, dtype: torch.dtype, kind: Kind) -> tuple[Any, str]:
    import diffusers
    from accelerate import init_empty_weights

    config, sources = _of_shapes(file, kind)
    with init_empty_weights():
        network = getattr(diffusers, kind.of(config)).from_config(config)
    check_loaded(f"the ControlNet {file}", network, filled(network, file, sources, dtype))
    return network.to(device).eval().requires_grad_(False), digest(file)[:16]
