"""Checkpoints of Stable Diffusion 1, 2 and XL in one .safetensors file in their original layout.

From the file's header a folder is written that says the same in diffusers' layout: the configs, the tokenizer, and a
link to the file in place of weights (`checkpoint_files.SINGLE_FILE`). It takes milliseconds, asks no network for a
config, and everything else reads that folder as any other. Parts that a file lacks are taken from folders in diffusers'
layout beside it: of `dream.safetensors` from `dream/vae` or `vae`, and so on.
"""

import atexit
import hashlib
import importlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones import clip_vocabulary, hub, original_layout
from backbones.cache import cache_folder
from backbones.checkpoint_files import PICKLES, SINGLE_FILE, UNET, CheckpointError, Header, config, header
from backbones.hub import Tell
from backbones.names import HUB, Place, hub_file, local
from backbones.original_layout import AUTOENCODERS, CLIP, LATENT_SCALE, LATENT_SCALE_XL, OPEN_CLIP, Source, Sources
from backbones.single_file_kind import PREDICTIONS, Family, family, prediction, resolution

Files = dict[str, Path | str]  # place in the folder -> the file that is linked there, or what stands in it
NOTE = "note"  # a file in the folder: what was assumed of the checkpoint
PLACE = re.compile(r"(?P<file>.+?\.(?:safetensors|sft|gguf|ckpt|pt|pth|bin))(?:\?(?P<chosen>.*))?", re.I)


def place(id: str) -> tuple[Path, str] | None:
    """The file that an id names, and what was chosen with "?" of what its network predicts; None for no file."""
    found = PLACE.fullmatch(id)
    if found is None or "://" in id or HUB.fullmatch(id) or local(id).is_dir():
        return None
    return local(found["file"]), found["chosen"] or ""


def folder_of(id: str, tell: Tell | None = None) -> Path | None:
    """The folder that stands for the file that an id names, here or on the Hub; None where it names no file. tell:
    hears of what is fetched; None: nothing is. Raises CheckpointError as `described`, and where there is none."""
    if there := hub_file(id.partition("?")[0]):
        file = hub.cached(*there) or (_fetched(*there, tell) if tell else None)
        if file is None:
            raise CheckpointError(f"{there[0]}/{there[1]} is no file here, and has not been fetched from the Hugging "
                                  "Face Hub yet: a run of it does that")  # fmt: skip
        chosen = "" if HUB.fullmatch(id) else id.partition("?")[2]
        return described(file / there[1], chosen, fetch=tell is not None)
    found = place(id)
    return described(*found, fetch=tell is not None) if found else None


def _fetched(there: Place, path: str, tell: Tell) -> Path:
    """The folder of the Hub's cache that has a file, which is fetched once its header says that it is opened here."""
    repository = hub.look(there)
    if path not in repository.sizes:
        others = sorted(name for name in repository.sizes if name.endswith(".safetensors"))
        raise CheckpointError(f"{there} has no {path} on the Hugging Face Hub. It has {', '.join(others[:4]) or 'none'}"
                              f"{', ...' if len(others) > 4 else ''}")  # fmt: skip
    family(Path(f"{there}/{path}"), hub.header_of(there, path))
    return hub.fetch(repository, [path], tell)


def described(file: Path, chosen: str, fetch: bool = False) -> Path:
    """The folder that stands for a file. chosen: of PREDICTIONS, or "". fetch: whether a tokenizer that is nowhere here
    may be fetched from the Hub.

    Raises CheckpointError in words where it is another kind of file, or lacks what is nowhere beside it.
    """
    _check_file(file)
    if chosen and chosen not in PREDICTIONS:
        raise CheckpointError(f"{file.name}?{chosen}: what a network predicts is one of {', '.join(PREDICTIONS)}")
    said = header(file)
    kind = family(file, said)
    try:
        files = _files(file.absolute(), said, kind, chosen, fetch)
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        raise CheckpointError(f"{file}: its tensors are not those of Stable Diffusion's original layout: "
                              f"{str(error) or type(error).__name__}") from error  # fmt: skip
    return _written(file.name, files)


def _check_file(file: Path) -> None:
    if not file.exists():
        raise CheckpointError(f"there is no file {file}: give a .safetensors file, a folder in diffusers' layout, or "
                              "an id of the Hugging Face Hub such as owner/name")  # fmt: skip
    if file.suffix.lower() in PICKLES:
        raise CheckpointError(f"{file} is a pickle, which can run code when it is read: get it as .safetensors")
    if file.suffix.lower() == ".gguf":
        raise CheckpointError(f"{file} is GGUF, whose packed weights are not read here: get it as .safetensors in "
                              "fp16, bf16 or fp32")  # fmt: skip


def note(folder: Path) -> str:
    """What was assumed of a checkpoint that is one file, in words; "" where nothing was."""
    return (folder / NOTE).read_text(encoding="utf-8") if (folder / NOTE).exists() else ""


def origin(folder: Path) -> Path:
    """Of a folder that stands for a file the file without its ending, else the folder: what lies beside a checkpoint is
    called by this name."""
    link = folder / SINGLE_FILE
    return Path(os.readlink(link)).with_suffix("") if link.exists() else folder


# ---- what stands in the folder ---------------------------------------------------------------------------------------


def _files(file: Path, said: Header, kind: Family, chosen: str, fetch: bool) -> Files:
    shapes = said.shapes
    vae = _vae_config(file, said, kind)
    texts = _text_configs(file, said, kind)
    predicts, assumed = prediction(kind, said, chosen)
    unet = original_layout.unet_config(original_layout.within(shapes, UNET))
    factor = 2 ** (len(vae.get("block_out_channels") or vae["encoder_block_out_channels"]) - 1)
    unet["sample_size"] = resolution(kind, said) // factor
    if kind == "xl":
        pooled = texts["text_encoder_2"]["projection_dim"]
        unet["addition_time_embed_dim"] = (unet["projection_class_embeddings_input_dim"] - pooled) // 6
    configs = {"unet": unet, "vae": vae, **texts}
    files: Files = {f"{part}/config.json": _json(one) for part, one in configs.items()}
    classes = {part: ["diffusers", one["_class_name"]] for part, one in (("unet", unet), ("vae", vae))}
    for part in texts:
        classes[part] = ["transformers", "CLIPTextModelWithProjection" if part[-1] == "2" else "CLIPTextModel"]
        words = "tokenizer" + part.removeprefix("text_encoder")
        classes[words] = ["transformers", "CLIPTokenizer"]
        fills = "!" if part[-1] == "2" or kind == "2" else clip_vocabulary.MARKS[1]
        size, places = texts[part]["vocab_size"], texts[part]["max_position_embeddings"]
        for name, one in clip_vocabulary.tokenizer(file, size, places, fills, fetch).items():
            files[f"{words}/{name}"] = one
    classes["scheduler"] = ["diffusers", "DDIMScheduler"]
    files["scheduler/scheduler_config.json"] = _json(_scheduler(predicts))
    pipeline = f"StableDiffusion{'XL' if kind == 'xl' else ''}Pipeline"
    more = {"force_zeros_for_empty_prompt": True} if kind == "xl" else {"requires_safety_checker": False}
    files["model_index.json"] = _json({"_class_name": pipeline, **more, **classes})
    for part in configs:
        for beside in _beside(file, part) if _lacks(shapes, part, kind) else ():
            files[f"{part}/{beside.name}"] = beside
    if assumed:
        files[NOTE] = (f"{file.name} does not say what its network predicts: read as {predicts}, as is usual for "
                       f"Stable Diffusion {kind}. Where its images are noise or brown, start with "
                       f"{file.name}?{'epsilon' if predicts != 'epsilon' else 'v_prediction'}.")  # fmt: skip
    return files | {SINGLE_FILE: file}


def _vae_config(file: Path, said: Header, kind: Family) -> dict[str, Any]:
    if beginning := original_layout.first_of(AUTOENCODERS, said.shapes):
        scale = LATENT_SCALE_XL if kind == "xl" else LATENT_SCALE
        return original_layout.vae_config(original_layout.within(said.shapes, beginning), scale)
    return _config_beside(file, "vae", "autoencoder", kind)


def _text_configs(file: Path, said: Header, kind: Family) -> dict[str, dict[str, Any]]:
    found = {}
    for part in ("text_encoder", "text_encoder_2") if kind == "xl" else ("text_encoder",):
        beginning = _beginning(said.shapes, part, kind)
        text = original_layout.within(said.shapes, beginning) if beginning else {}
        if not text:
            found[part] = _config_beside(file, part, "second text encoder" if part[-1] == "2" else "text encoder", kind)
        elif beginning in OPEN_CLIP:
            found[part] = original_layout.open_clip_config(text, projected=kind == "xl")
        else:
            plain = {name.removeprefix("text_model."): shape for name, shape in text.items()}
            found[part] = original_layout.clip_config(plain)
    return found


def _beginning(shapes: Mapping[str, Any], part: str, kind: Family) -> str:
    """How the names of a part's tensors begin; "" where the file lacks it."""
    if part == "unet":
        return UNET
    if part == "vae":
        return original_layout.first_of(AUTOENCODERS, shapes)
    likely = {"1": (CLIP[0],), "2": (OPEN_CLIP[0],), "xl": (OPEN_CLIP[1] if part[-1] == "2" else CLIP[1],)}
    return original_layout.first_of(likely[kind], shapes)


def _lacks(shapes: Mapping[str, Any], part: str, kind: Family) -> bool:
    return not _beginning(shapes, part, kind)


def _config_beside(file: Path, part: str, what: str, kind: Family) -> dict[str, Any]:
    """The config of a part that is taken from beside the file. Raises CheckpointError where there is none."""
    if folder := _folder_beside(file, part):
        return config(folder, "")
    where = file.with_suffix("") / part
    raise CheckpointError(f"{file} has no {what}, as files of a fine-tuned network alone: copy the folder {part} (with "
                          f"its config.json) of a checkpoint of Stable Diffusion {kind} in diffusers' layout to "
                          f"{where}, or to {file.parent / part} for all files there")  # fmt: skip


def _folder_beside(file: Path, part: str) -> Path | None:
    folders = (file.with_suffix("") / part, file.parent / part)
    return next((one for one in folders if (one / "config.json").is_file()), None)


def _beside(file: Path, part: str) -> list[Path]:
    """Weights of a part that is taken from beside the file, with their index."""
    folder = _folder_beside(file, part)
    return [one for one in sorted(folder.iterdir()) if one.name != "config.json"] if folder else []


def _scheduler(predicts: str) -> dict[str, Any]:
    """That of all three families, and what the network predicts. Zero terminal SNR goes with steps from the last level
    on ("trailing")."""
    zero = predicts.endswith("_ztsnr")
    return {
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
        "prediction_type": predicts.removesuffix("_ztsnr"), "rescale_betas_zero_snr": zero,
        "timestep_spacing": "trailing" if zero else "leading",
    }  # fmt: skip


def _json(said: Mapping[str, Any]) -> str:
    return json.dumps(said, indent=1, sort_keys=True)


def _written(name: str, files: Files) -> Path:
    """A folder with these files, whole or not at all; the same one for the same files."""
    parts = "".join(f"{at}\n{one}\n" for at, one in sorted(files.items()))
    folder = _home() / hashlib.sha256(parts.encode()).hexdigest()[:16] / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent.parent))
        for at, one in files.items():
            target = made / name / at
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(one) if isinstance(one, Path) else target.write_text(one, encoding="utf-8")
        made.rename(folder.parent)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if not folder.is_dir():  # not that another process was first
            raise CheckpointError(f"{name}: its configs could not be written to {folder}: {error}") from error
    return folder


def _home() -> Path:
    kept = cache_folder()
    return kept / "single_files" if kept else _passing_home()


@cache
def _passing_home() -> Path:
    """Until this process ends."""
    home = tempfile.mkdtemp(prefix="nine-ways-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return Path(home)


# ---- its weights -----------------------------------------------------------------------------------------------------


def open_part(folder: Path, part: str, library: str, kind: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """A network of the file that a folder stands for, and its loading info as diffusers gives it: where the info has
    anything, the network has no weights."""
    from accelerate import init_empty_weights

    made, said = getattr(importlib.import_module(library), kind), config(folder, part)
    with init_empty_weights():
        network = made(made.config_class(**said)) if library == "transformers" else made.from_config(said)
    file = Path(os.readlink(folder / SINGLE_FILE))
    sources = sources_of(header(file).shapes, part, "xl" if (folder / "text_encoder_2").is_dir() else None)
    return network, filled(network, file, sources, dtype)


def filled(network: Any, file: Path, sources: Sources, dtype: torch.dtype) -> dict[str, Any]:
    """Fills a network without weights from a file, and gives the loading info as diffusers does: where that has
    anything, it was not filled."""
    from safetensors import safe_open

    shapes = header(file).shapes
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    sources = _named_as(wanted, sources)
    found: dict[str, Any] = {
        "missing_keys": [name for name in wanted if name not in sources],
        "unexpected_keys": [one.name for name, one in sources.items() if name not in wanted],
        "mismatched_keys": [(one.name,) for name, one in sources.items()
                            if name in wanted and _squeezed(one.shape(shapes)) != _squeezed(wanted[name])],
    }  # fmt: skip
    if not any(found.values()):
        with safe_open(str(file), framework="pt") as tensors:
            weights = {name: _read(tensors, one, dtype).reshape(wanted[name]) for name, one in sources.items()}
        network.load_state_dict(weights, strict=True, assign=True)
    return found


def shapes_of(folder: Path, part: str) -> dict[str, tuple[int, ...]]:
    """Of the weights of a part, by the names that diffusers and transformers give them; of a convolution of 1 x 1
    perhaps those of a linear layer."""
    shapes = header(folder / SINGLE_FILE).shapes
    sources = sources_of(shapes, part, "xl" if (folder / "text_encoder_2").is_dir() else None)
    return {name: tuple(one.shape(shapes)) for name, one in sources.items()}


def sources_of(shapes: Mapping[str, tuple[int, ...]], part: str, kind: Family | None = None) -> Sources:
    """Where a part's weights are in a file of these shapes. kind: "xl" where it is that."""
    if kind is None:
        kind = "2" if original_layout.first_of((OPEN_CLIP[0],), shapes) else "1"
    beginning = _beginning(shapes, part, kind)
    mine = original_layout.within(shapes, beginning)
    if part == "unet":
        return original_layout.unet_sources(mine)
    if part == "vae":
        return original_layout.vae_sources(mine, beginning)
    if beginning in OPEN_CLIP:
        return original_layout.open_clip_sources(mine, beginning, projected=kind == "xl")
    return original_layout.clip_sources(mine, beginning)


def _named_as(wanted: Mapping[str, Any], sources: Sources) -> Sources:
    """Releases of transformers have "text_model." before the names of a text encoder's weights, or have not."""
    if not any(name.startswith("text_model.") for name in wanted):
        return sources
    return {name if name.startswith("text_projection") else f"text_model.{name}": one for name, one in sources.items()}


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without sides of 1 at the end: a convolution of 1 x 1 is the same as a linear layer."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _read(tensors: Any, source: Source, dtype: torch.dtype) -> Tensor:
    whole: Tensor = tensors.get_tensor(source.name)
    if source.third is not None:
        whole = whole.chunk(3)[source.third]
    if source.transposed:
        whole = whole.T
    return whole.to(dtype).contiguous()
