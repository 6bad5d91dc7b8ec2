"""The files of a checkpoint folder: whether all are there and whole, and which weights are read, by names and headers.

The header of a .safetensors file is JSON that says the names, dtypes and shapes of its tensors. No weights are read
here, so that a refusal comes at once.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from backbones import pipelines
from backbones.pipelines import BY_PIPELINE

PICKLES = {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"}
UNFINISHED = {".incomplete", ".part", ".crdownload", ".download", ".aria2", ".tmp"}  # of the Hub, browsers, aria2
LIBRARIES = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}  # -> how their files of weights are named
LARGEST_HEADER = 100_000_000  # bytes, as the library of the format has it
OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")  # parts of a pipeline that no backbone needs
VARIANTS = ("", "fp16", "bf16", "fp32")  # in this order, then others such as non_ema; "": files without a variant
SINGLE_FILE = "single_file.safetensors"  # a link in a folder of configs to the file that holds the weights
UNET = "model.diffusion_model."  # begins the names of a UNet's tensors there
TOKENIZER = ({"tokenizer.json"}, {"vocab.json", "merges.txt"}, {"spiece.model"})  # either of these


class CheckpointError(OSError):
    """A checkpoint that cannot be used; the message says why and what would do."""


class Unfinished(CheckpointError):
    """A checkpoint of which files are missing or cut off, so that fetching it again may help."""


@dataclass(frozen=True)
class Weights:
    """The files of one part that are read, one or several shards, and their variant in diffusers' sense ("": none).

    beginning: of the names of its tensors, where a file holds those of other parts, too.
    """

    files: tuple[Path, ...]
    variant: str
    beginning: str = ""

    @property
    def parameters(self) -> int:
        """Numbers in them, whatever their dtype."""
        return sum(prod(shape) for file in self.files for name, shape in shapes(file).items()
                   if name.startswith(self.beginning))  # fmt: skip


def check(folder: Path, fits: tuple[str, ...]) -> dict[str, Any]:
    """The model_index.json of a checkpoint folder whose pipeline class is one of `fits`, else CheckpointError."""
    if not folder.exists():
        raise CheckpointError(f"there is no checkpoint at {folder}: give a folder that holds a model_index.json, "
                              "a .safetensors file, or an id of the Hugging Face Hub such as owner/name")  # fmt: skip
    index = _index(folder)
    check_index(str(folder), index, fits, sorted(str(file.relative_to(folder)) for file in folder.rglob("*.py")))
    networks = BY_PIPELINE[index["_class_name"]]
    for part, classes in networks.parts.items():
        if part not in networks.optional or is_there(index.get(part)):
            _check_part(folder, part, index.get(part), classes)
    return index


def check_index(where: str, index: Mapping[str, Any], fits: tuple[str, ...], code: Sequence[str] = ()) -> None:
    """Raises CheckpointError where the pipeline of a model_index.json is none of `fits`, or brings code. code: files of
    it, by their names."""
    name = index.get("_class_name")
    parts = {key: value for key, value in index.items() if not key.startswith("_") and _is_part(value)}
    theirs = {*LIBRARIES, None, "stable_diffusion", "diffusers.pipelines.controlnet.multicontrolnet", "multicontrolnet"}
    own = [value for value in parts.values() if value and value[0] not in theirs]
    if code or not isinstance(name, str) or own:
        what = ", ".join(code) or "classes of its own in model_index.json"
        raise CheckpointError(f"{where} brings code ({what}), and no code of a checkpoint is run here. "
                              "Remove it if diffusers' own classes will do.")  # fmt: skip
    if name not in fits:
        plain = [one.pipelines[0] for one in pipelines.ALL if one.pipelines[0] in fits]
        raise CheckpointError(f"{where} is a {name}; what fits here: {', '.join(plain)}, and others with the same "
                              "networks")  # fmt: skip


def is_there(said: Any) -> bool:
    """Whether model_index.json names a part that a checkpoint may lack."""
    return said not in (None, [None, None])


def _is_part(said: Any) -> bool:
    """Whether model_index.json says of a part what it is, [library, class], or that there is none, [null, null]."""
    return isinstance(said, list) and len(said) == 2 and all(one is None or isinstance(one, str) for one in said)


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = " It looks like one component of a checkpoint: give the folder above." \
            if (folder / "config.json").exists() else ""  # fmt: skip
        raise CheckpointError(f"{folder} holds no model_index.json, so it is no diffusers checkpoint.{hint}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}/model_index.json cannot be read: {error}") from error
    if not isinstance(index, dict):
        raise CheckpointError(f"{folder}/model_index.json cannot be read: it is no JSON object")
    return index


def _check_part(folder: Path, part: str, named: Any, classes: tuple[str, ...]) -> None:
    """named: what model_index.json says of the part, [library, class]."""
    library = check_class(str(folder), part, named, classes)
    here = folder / part
    if not here.is_dir():
        raise Unfinished(f"{folder} lacks the folder {part}, which its model_index.json names: get it again")
    if part.startswith("tokenizer"):
        names = {file.name for file in here.iterdir()}
        if not any(need <= names for need in TOKENIZER):
            raise Unfinished(f"{here} holds no tokenizer (tokenizer.json, vocab.json and merges.txt, or spiece.model): "
                             "copy it from the checkpoint that this one was made from")  # fmt: skip
    elif part == "scheduler":
        config(folder, part)
    else:
        said = config(folder, part)
        if classes:
            check_quantisation(str(here), said)
            for file in weights(folder, part, library).files:
                shapes(file)


def check_quantisation(where: str, said: Mapping[str, Any]) -> None:
    """Raises CheckpointError where a part's config says that its weights are packed."""
    if not (how := said.get("quantization_config")):
        return
    by = how.get("quant_method") if isinstance(how, dict) else None
    bits = next((f"{n} bits, " for n in (4, 8) if isinstance(how, dict) and how.get(f"load_in_{n}bit")), "")
    raise CheckpointError(f"{where} was saved with packed weights ({bits}{by or how}), which are not read here: get "
                          "the checkpoint as it was before, in fp16, bf16 or fp32. What is too large for the GPU runs "
                          "on the CPU with NINE_WAYS_DEVICE=cpu")  # fmt: skip


def check_class(where: str, part: str, named: Any, classes: tuple[str, ...]) -> str:
    """The library of a part. named: what model_index.json says of it, [library, class]. Raises CheckpointError where it
    is none of `classes`, () for those without weights."""
    if not (isinstance(named, list) and len(named) == 2 and all(isinstance(word, str) for word in named)):
        raise CheckpointError(f"{where} has no {part}: its model_index.json says {json.dumps(named)} of it. Copy the "
                              f"folder {part} from the checkpoint that this one was made from, with its line there"
                              )  # fmt: skip
    if classes and named[1] not in classes:
        raise CheckpointError(f"{where}/{part} is a {named[1]} by model_index.json; what fits here: "
                              f"{', '.join(classes)}")  # fmt: skip
    return str(named[0])


def config(folder: Path, part: str) -> dict[str, Any]:
    """The config file of a part, as JSON. Raises CheckpointError."""
    file = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unfinished(f"{file.parent} holds no {file.name}: get it again") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} cannot be read: it is no JSON object")
    return found


def weights(folder: Path, part: str, library: str) -> Weights:
    """What is read of one part: of the variants that are there whole, the first of VARIANTS. Raises CheckpointError.

    library: "diffusers" or "transformers". A variant is one file, or shards with an index: `stem.safetensors`,
    `stem.fp16.safetensors`, `stem.safetensors.index.json`, `stem.safetensors.index.fp16.json`.
    """
    here, stem = folder / part, LIBRARIES[library]
    entries = sorted(here.iterdir())
    if (folder / SINGLE_FILE).exists() and [file.name for file in entries] == ["config.json"]:
        return Weights((folder / SINGLE_FILE,), "", UNET if part == "unet" else "")
    names = {file.name for file in entries if file.exists()}  # not links into a cache whose file is not there
    troubles: list[CheckpointError] = []
    for variant in variants(names, stem):
        dot = variant and f".{variant}"
        if f"{stem}{dot}.safetensors" in names:
            return Weights((here / f"{stem}{dot}.safetensors",), variant)
        index = here / f"{stem}.safetensors.index{dot}.json"
        if index.name not in names:
            troubles.append(Unfinished(f"{here} has shards of weights, and lacks {index.name}: get it again"))
            continue
        shards = _shards(index)
        if shards <= names:
            return Weights(tuple(here / shard for shard in sorted(shards)), variant)
        troubles.append(Unfinished(f"{here} lacks {', '.join(sorted(shards - names))}: get it again"))
    if troubles:
        raise troubles[0]
    raise _without_weights(folder, part, stem, names, entries)


def variants(names: Collection[str], stem: str) -> list[str]:
    """Those that the names of files speak of, in the order in which they are taken."""
    file = re.compile(rf"{stem}(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.safetensors")
    index = re.compile(rf"{stem}\.safetensors\.index(?:\.(\w+))?\.json()")
    found = [match for name in names for match in (file.fullmatch(name) or index.fullmatch(name),) if match]
    variants = {match[1] or match[2] or "" for match in found}
    return sorted(variants, key=lambda one: (VARIANTS.index(one) if one in VARIANTS else len(VARIANTS), one))


def _shards(index: Path) -> set[str]:
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if shards and all(isinstance(shard, str) and Path(shard).name == shard for shard in shards):
            return shards
        reason = "its weight_map names no files"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = repr(error)
    raise CheckpointError(f"{index} cannot be read ({reason}): get it again")


def _without_weights(folder: Path, part: str, stem: str, names: set[str], entries: list[Path]) -> CheckpointError:
    here = folder / part
    downloads = folder / ".cache" / "huggingface" / "download" / part  # of `hf download --local-dir`
    begun = [file.name for file in (*entries, *sorted(downloads.glob("*.incomplete")))
             if file.suffix in UNFINISHED or not file.exists()]  # fmt: skip
    if begun:
        return Unfinished(f"{here}: the download of its weights is not finished ({begun[0]}). Start it again: it goes "
                          "on where it was")  # fmt: skip
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if others:
        return CheckpointError(f"{here} has weights under another name ({others[0]}): what is read is "
                               f"{stem}.safetensors, {stem}.fp16.safetensors, or shards with their index")  # fmt: skip
    pickled = sorted(name for name in names if Path(name).suffix in PICKLES)
    if pickled:
        return CheckpointError(f"{here} has its weights as a pickle only ({pickled[0]}), which can run code when it is "
                               "read: get or save the checkpoint as safetensors")  # fmt: skip
    return Unfinished(f"{here} holds no weights (*.safetensors)")


@dataclass(frozen=True)
class Header:
    """What a .safetensors file says of its tensors, by their names, and of itself."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]  # such as "F16"
    said: Mapping[str, str]  # its __metadata__


def shapes(file: Path) -> Mapping[str, tuple[int, ...]]:
    """The shapes of the tensors of a .safetensors file, by name. Raises CheckpointError where it is damaged."""
    return header(file).shapes


def header(file: Path) -> Header:
    """Of a .safetensors file. Raises CheckpointError where it is damaged."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        if first.startswith(b"version "):
            raise Unfinished(f"{file} is git-lfs' pointer to the file, not the file itself: `git lfs pull` fetches it")
        length = int.from_bytes(first, "little")
        raw = stream.read(length) if 0 < length <= min(size - 8, LARGEST_HEADER) else b""
    try:
        read = json.loads(raw)
        said = {str(name): str(value) for name, value in read.pop("__metadata__", {}).items()}
        ends = [int(entry["data_offsets"][1]) for entry in read.values()]
        found = Header({name: tuple(map(int, entry["shape"])) for name, entry in read.items()},
                       {name: str(entry["dtype"]) for name, entry in read.items()}, said)  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise Unfinished(f"{file} is damaged, or no safetensors file ({size:,} bytes, which begin with {first!r}): get "
                         "it again") from None  # fmt: skip
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise Unfinished(f"{file} is cut off: {size:,} of {whole:,} bytes are there. Get it again")
    if size > whole:
        raise CheckpointError(f"{file} is damaged: it has {size:,} bytes, and should have {whole:,}. Get it again")
    if not ends:
        raise CheckpointError(f"{file} holds no tensors: get it again")
    return found
