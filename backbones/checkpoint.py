"""Opens checkpoints in diffusers' folder layout: a local folder, a single file, or an id of the Hugging Face Hub.

Safetensors only, no remote code: what a checkpoint brings is data.
"""

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from backbones import hub, hub_files, single_file
from backbones.cache import cache_folder
from backbones.checkpoint_files import (
    OPTIONAL,
    SINGLE_FILE,
    CheckpointError,
    Unfinished,
    check,
    check_index,
    check_quantisation,
    config,
    weights,
)
from backbones.hub import Tell
from backbones.names import Place, hub_place, local
from backbones.pipelines import BY_PIPELINE, denoiser

CheckConfigs = Callable[[str, Path], object]
REMEMBERED = 50_000_000  # bytes of a file above which its hash is kept between starts, by path, size and time
OTHER_HALF = re.compile(r"(vision_model|visual_projection|text_projection|logit_scale)\b.*")  # of a whole CLIP


def locate(
    id: str, fits: tuple[str, ...], tell: Tell = lambda done, total: None, check_configs: CheckConfigs = lambda *_: None
) -> Path:
    """A folder, a single file (see `single_file`), or an id of the Hub ("owner/name", or its address there) -> the
    folder of a checkpoint that passed `check`.

    What the Hub's cache on this machine holds is taken without asking the network. tell: hears how many bytes are
    here, of how many that are fetched. check_configs(pipeline class, folder without weights): raises CheckpointError
    before any weights are fetched. Raises CheckpointError.
    """
    if folder := single_file.folder_of(id, tell):
        check(folder, fits)
        return folder
    place = hub_place(id)
    if place is None:
        path = local(id)
        check(path, fits)
        return path.resolve()
    here, unfinished = cached(place), ""
    if here is not None:
        try:
            check(here, fits)
            return here
        except Unfinished as error:
            unfinished = f" What is in the cache does not do: {error}"
    try:
        return _fetched(place, fits, tell, check_configs)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{unfinished}") from error


def cached(place: Place) -> Path | None:
    """Its folder in the Hub's cache on this machine, whole or not."""
    return hub.cached(place, "model_index.json")


def _fetched(place: Place, fits: tuple[str, ...], tell: Tell, check_configs: CheckConfigs) -> Path:
    """From the Hub: its model_index.json first, then what is small, and the weights once all that is right."""
    repository = hub.look(place)
    if "model_index.json" not in repository.sizes:
        files = sorted(name for name in repository.inside("") if name.endswith(".safetensors"))
        hint = f" It has single files ({', '.join(files[:2])}): give one that `hf download {place.repo} {files[0]}` " \
               "fetches" if files else ""  # fmt: skip
        raise CheckpointError(f"{place} has no model_index.json on the Hugging Face Hub, so it is no diffusers "
                              f"checkpoint.{hint}")  # fmt: skip
    index = hub.read_json(repository, "model_index.json")
    check_index(str(place), index, fits)
    small, large = hub_files.files(str(place), index, repository.inside)
    folder = hub.fetch(repository, small)
    for part in (one for one in small if one.endswith("/config.json")):
        check_quantisation(f"{place}/{part.rpartition('/')[0]}", config(folder, part.rpartition("/")[0]))
    check_configs(index["_class_name"], folder)
    folder = hub.fetch(repository, [*small, *large], tell)
    check(folder, fits)
    return folder


def opened(folder: Path, dtype: torch.dtype) -> tuple[Any, str]:
    """`open_pipeline` and `revision` of a checked folder. Hashing gigabytes takes as long as opening them, and wants
    another core: the two go side by side. Raises CheckpointError."""
    with ThreadPoolExecutor(1, "hash of a checkpoint") as aside:
        hashed = aside.submit(revision, folder)
        return open_pipeline(folder, dtype), hashed.result()


def open_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The diffusers pipeline of a checked folder, on the CPU, in eval mode, its parameters frozen.

    Raises CheckpointError where diffusers cannot make it, where weights are missing, left over or of other shapes, and
    where they are not finite.
    """
    import diffusers

    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    networks = BY_PIPELINE[index["_class_name"]]
    lacks = [part for part in networks.optional if index.get(part) in (None, [None, None])]
    options: dict[str, Any] = {key: None for key in OPTIONAL if key in index} | dict.fromkeys(lacks)
    if "requires_safety_checker" in index:
        options["requires_safety_checker"] = False
    kind = networks.pipelines[0]  # whatever task a folder was saved for, it is encoded and denoised alike
    if kind.startswith("StableDiffusionXL"):
        options["add_watermarker"] = False
    try:
        with quiet():
            for part, classes in networks.parts.items():
                if classes and part not in lacks:
                    options[part] = _open_part(folder, part, index[part], dtype)
            pipe = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, **options)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{folder} could not be loaded: {str(error).strip() or type(error).__name__}") from error
    return pipe


def _open_part(folder: Path, part: str, named: list[str], dtype: torch.dtype) -> Any:
    """One network of a pipeline. The variant of its weights is its own: one part may be there in fp16 alone."""
    (library, kind), here = named, str(folder / part)
    files = weights(folder, part, library)
    try:
        if files.files[0].name == SINGLE_FILE:
            here = f"{files.files[0].readlink()}, {part}"
            network, found = single_file.open_part(folder, part, library, kind, dtype)
        else:
            network, found = getattr(importlib.import_module(library), kind).from_pretrained(
                here, use_safetensors=True, local_files_only=True, dtype=dtype, output_loading_info=True,
                variant=files.variant or None,
            )  # fmt: skip
    except Exception as error:
        words = " ".join((str(error).partition("If you want to instead")[0] or type(error).__name__).split())
        raise CheckpointError(f"{here} could not be loaded: {words}") from error
    check_loaded(here, network, found, OTHER_HALF if library == "transformers" else None)
    return network.eval().requires_grad_(False)


def check_loaded(
    here: str, network: torch.nn.Module, found: Mapping[str, Any], unread: re.Pattern[str] | None = None
) -> None:
    """found: diffusers' or transformers' loading info. unread: keys that may be left over.

    Raises CheckpointError where the network is not filled by its files alone, or by what is no number.
    """
    kind = type(network).__name__
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(f"{here}: {_some(missing)} of its weights are missing from its files, and would be drawn "
                              "at random. Get it again, or save it again from where it is whole")  # fmt: skip
    left = sorted(key for key in found["unexpected_keys"] if unread is None or not unread.match(key))
    if left:
        raise CheckpointError(f"{here}: its files have {_some(left)} that a {kind} of its config.json does not: it is "
                              "another network, or one with something added (scales of 8-bit weights, an adapter) that "
                              "is not read here")  # fmt: skip
    if mismatched := sorted(str(one[0]) for one in found["mismatched_keys"]):
        raise CheckpointError(f"{here}: {_some(mismatched)} of its weights have other shapes than its config.json has: "
                              "they are of another checkpoint")  # fmt: skip
    _check_finite(here, network)


def _check_finite(here: str, network: torch.nn.Module) -> None:
    for name, values in network.state_dict().items():
        if values.numel() and values.is_floating_point():
            low, high = values.aminmax()  # of any NaN: NaN
            if not (low.isfinite() and high.isfinite()):
                why = "get it again; merges of checkpoints make such weights, too"
                if values.dtype == torch.float16 and not low.isnan():
                    why = "or too large for float16: start with NINE_WAYS_ENGINE=torch-bf16, or get it again"
                raise CheckpointError(f"{here}: its weights are NaN or infinite ({name}), so every image would be: "
                                      f"{why}")  # fmt: skip


def _some(names: list[str]) -> str:
    """How many, and the first of them."""
    return f"{len(names):,} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"


def parameters(folder: Path) -> int:
    """Of the denoising network in a checkpoint folder that passed `check`, by the headers of its files."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return weights(folder, denoiser(index["_class_name"]), "diffusers").parameters


def revision(folder: Path) -> str:
    """A hash of everything that decides an image: names and contents of weights, configs and vocabularies."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".safetensors", ".json", ".txt") and file.is_file():
            total.update(f"{file.relative_to(folder).as_posix()} {digest(file)}\n".encode())
    return total.hexdigest()[:16]


def digest(file: Path) -> str:
    """The sha256 of a file's content, in hexadecimal; remembered for a large one."""
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):  # the Hub's cache names a file by its sha256
        return blob.name
    stat, home = blob.stat(), cache_folder()
    key = hashlib.sha256(f"{blob} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    known = home / "digests" / key if home and stat.st_size > REMEMBERED else None
    if known and known.exists():
        return known.read_text()
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if known:
        known.parent.mkdir(exist_ok=True)
        known.write_text(found)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of diffusers and transformers, and without diffusers' warnings."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    level = ours.get_verbosity()
    try:
        ours.set_verbosity_error()
        ours.disable_progress_bar()
        theirs.disable_progress_bar()
        yield
    finally:
        ours.set_verbosity(level)
        ours.enable_progress_bar()
        theirs.enable_progress_bar()
