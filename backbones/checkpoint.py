"""Opens checkpoints in diffusers' folder layout: a local folder, or an id of the Hugging Face Hub.

Safetensors only, no remote code: what a checkpoint brings is data.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import torch

PICKLES = {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"}
LIBRARIES = {"diffusers", "transformers"}
REMEMBERED = 50_000_000  # bytes of a file above which its hash is kept between starts, by path, size and time
OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")  # parts of a pipeline that no backbone needs


class CheckpointError(OSError):
    """A checkpoint that cannot be used; the message says why and what would do."""


def locate(id: str, fits: tuple[str, ...]) -> Path:
    """A folder, or an id of the Hub ("owner/name") -> the folder of a checkpoint that passed `check`.

    What the Hub's cache on this machine holds is taken without asking the network. Raises CheckpointError.
    """
    path = Path(id).expanduser()
    if path.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", id):
        check(path, fits)
        return path.resolve()
    from diffusers import DiffusionPipeline

    try:
        path = Path(DiffusionPipeline.download(id, use_safetensors=True, local_files_only=True))
        check(path, fits)
        return path
    except Exception:  # not in the cache, or not whole
        pass
    try:
        path = Path(DiffusionPipeline.download(id, use_safetensors=True))
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"{id} is no folder here, and the Hugging Face Hub did not give it: {lines[0]} Check the name and the "
            "connection (gated models also want `hf auth login`), or fetch it elsewhere and give its folder."
        ) from error
    check(path, fits)
    return path


def check(folder: Path, fits: tuple[str, ...]) -> dict[str, Any]:
    """The model_index.json of a checkpoint folder whose pipeline class is one of `fits`, else CheckpointError.

    Looks at names only, so that every refusal comes before anything is read.
    """
    if not folder.exists():
        raise CheckpointError(f"there is no checkpoint at {folder}: give a folder that holds a model_index.json, "
                              "or an id of the Hugging Face Hub such as owner/name")  # fmt: skip
    if folder.is_file():
        raise CheckpointError(f"{folder} is a single file: convert it once with diffusers' "
                              "`from_single_file(...).save_pretrained(folder)`, and give the folder")  # fmt: skip
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except FileNotFoundError:
        hint = " It looks like one component of a checkpoint: give the folder above." \
            if (folder / "config.json").exists() else ""  # fmt: skip
        raise CheckpointError(f"{folder} holds no model_index.json, so it is no diffusers checkpoint.{hint}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}/model_index.json cannot be read: {error}") from error

    name = index.get("_class_name")
    parts = {key: value for key, value in index.items() if not key.startswith("_") and isinstance(value, list)}
    code = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.py"))
    if code or not isinstance(name, str) or any(own[0] not in {*LIBRARIES, None, "stable_diffusion"}
                                                for own in parts.values()):  # fmt: skip
        what = ", ".join(code) or "classes of its own in model_index.json"
        raise CheckpointError(f"{folder} brings code ({what}), and no code of a checkpoint is run here. "
                              "Remove it if diffusers' own classes will do.")  # fmt: skip
    if name not in fits:
        raise CheckpointError(f"{folder} is a {name}; what fits here: {', '.join(fits)}")
    for key, (library, _class) in parts.items():
        if library in LIBRARIES and key not in (*OPTIONAL, "scheduler") and not key.startswith("tokenizer"):
            _weights(folder, key)
    return index


def _weights(folder: Path, part: str) -> None:
    files = sorted((folder / part).glob("*")) if (folder / part).is_dir() else []
    names = {file.name for file in files}
    if not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(name for name in names if Path(name).suffix in PICKLES)
        if pickled:
            raise CheckpointError(f"{folder}/{part} has its weights as a pickle only ({pickled[0]}), which can run "
                                  "code when it is read: get or save the checkpoint as safetensors")  # fmt: skip
        raise CheckpointError(f"{folder}/{part} holds no weights (*.safetensors)")
    for file in files:
        if file.name.endswith(".safetensors.index.json"):
            shards = set(json.loads(file.read_text())["weight_map"].values())
            if shards - names:
                raise CheckpointError(f"{folder}/{part} lacks {', '.join(sorted(shards - names))}: get it again")


def open_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The diffusers pipeline of a checked folder, on the CPU, in eval mode, its parameters frozen.

    Raises CheckpointError where diffusers cannot make it.
    """
    from diffusers import DiffusionPipeline

    index = json.loads((folder / "model_index.json").read_text())
    options: dict[str, Any] = {key: None for key in OPTIONAL if key in index}
    if "requires_safety_checker" in index:
        options["requires_safety_checker"] = False
    if index["_class_name"].startswith("StableDiffusionXL"):
        options["add_watermarker"] = False
    names = [file.name for file in (folder / "unet").glob("*.safetensors")]
    if names and all(".fp16." in name for name in names):
        options["variant"] = "fp16"
    try:
        with quiet():
            pipe = DiffusionPipeline.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, dtype=dtype, **options
            )
    except Exception as error:
        raise CheckpointError(f"{folder} could not be loaded: {error}") from error
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def parameters(folder: Path) -> int:
    """Of the UNet in a checkpoint folder, from the size of its files: float32 ones count exactly, halves half."""
    files = (folder / "unet").glob("*.safetensors")
    return sum(file.stat().st_size for file in files if ".fp16." not in file.name) // 4


def revision(folder: Path) -> str:
    """A hash of everything that decides an image: names and contents of weights, configs and vocabularies."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".safetensors", ".json", ".txt") and file.is_file():
            total.update(f"{file.relative_to(folder).as_posix()} {_digest(file)}\n".encode())
    return total.hexdigest()[:16]


def _digest(file: Path) -> str:
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):  # the Hub's cache names a file by its sha256
        return blob.name
    stat, home = blob.stat(), cache_folder()
    key = hashlib.sha256(f"{blob} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    known = home / "digests" / key if home and stat.st_size > REMEMBERED else None
    if known and known.exists():
        return known.read_text()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if known:
        known.parent.mkdir(exist_ok=True)
        known.write_text(digest)
    return digest


def cache_folder() -> Path | None:
    """Where what can be made again is kept between starts: $NINE_WAYS_CACHE, else the user's cache folder.

    None where that cannot be written, or the variable is set and empty.
    """
    own = os.environ.get("NINE_WAYS_CACHE")
    if own == "":
        return None
    try:
        folder = Path(own).expanduser() if own else _usual_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def _usual_cache_folder() -> Path:
    """As the system has it; where there is ~/.cache/nine-ways, which version 0.1 had on every system, that one."""
    before = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nine-ways"
    return before if before.is_dir() else platformdirs.user_cache_path("nine-ways", appauthor=False)


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
