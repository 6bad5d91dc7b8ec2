"""Which files of a repository are fetched: those that are read, and no others. By names alone. No torch here."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backbones.checkpoint_files import LIBRARIES, PICKLES, TOKENIZER, CheckpointError, check_class, is_there, variants
from backbones.pipelines import BY_PIPELINE

SMALL = (".json", ".txt", ".model", ".jinja")  # of tokenizers and configs
Inside = Callable[[str], set[str]]  # a folder of the repository -> the names of its files


def files(where: str, index: Mapping[str, Any], inside: Inside) -> tuple[list[str], list[str]]:
    """Of a checkpoint, by its model_index.json that passed `checkpoint_files.check_index`: the small files, and the
    weights, of each part in one variant. Raises CheckpointError, in words, where a part is not there."""
    small, large = ["model_index.json"], []
    networks = BY_PIPELINE[index["_class_name"]]
    for part, classes in networks.parts.items():
        if part in networks.optional and not is_there(index.get(part)):
            continue
        library = check_class(where, part, index.get(part), classes)
        names = inside(part)
        if not names:
            raise CheckpointError(f"{where} lacks the folder {part}, which its model_index.json names")
        small += [f"{part}/{name}" for name in sorted(names) if name.endswith(SMALL) and ".index." not in name]
        if classes:
            large += [f"{part}/{name}" for name in weights(f"{where}/{part}", names, LIBRARIES[library])]
        elif part.startswith("tokenizer") and not any(need <= names for need in TOKENIZER):
            raise CheckpointError(f"{where}/{part} holds no tokenizer (tokenizer.json, vocab.json and merges.txt, or "
                                  "spiece.model)")  # fmt: skip
    return small, large


def weights(where: str, names: set[str], stem: str) -> list[str]:
    """Of one part: of the variants that are whole the first that is read, with the index of its shards."""
    for variant in variants(names, stem):
        dot = variant and f".{variant}"
        if f"{stem}{dot}.safetensors" in names:
            return [f"{stem}{dot}.safetensors"]
        index = f"{stem}.safetensors.index{dot}.json"
        shard = re.compile(rf"{stem}{re.escape(dot)}-(\d+)-of-(\d+){re.escape(dot)}\.safetensors|"
                           rf"{stem}{re.escape(dot)}-(\d+)-of-(\d+)\.safetensors|"
                           rf"{stem}-(\d+)-of-(\d+){re.escape(dot)}\.safetensors")  # fmt: skip
        shards = {name: found for name in names if (found := shard.fullmatch(name))}
        counts = {int(next(filter(None, found.groups()[1::2]))) for found in shards.values()}
        if index in names and counts == {len(shards)}:
            return sorted([index, *shards])
    pickled = sorted(name for name in names if Path(name).suffix in PICKLES)
    if pickled:
        raise CheckpointError(f"{where} has its weights as a pickle only ({pickled[0]}), which can run code when it is "
                              "read: nothing is fetched. Look for the checkpoint as safetensors")  # fmt: skip
    raise CheckpointError(f"{where} holds no weights that are read here ({stem}.safetensors, one of its variants, or "
                          "shards with their index): nothing is fetched")  # fmt: skip
