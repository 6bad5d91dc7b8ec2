"""CLIP's tokenizer for a checkpoint in a single file, which holds none: where one is found on this machine.

All of Stable Diffusion 1, 2 and XL read the same vocabulary. They differ in the token that fills up a text.
"""

import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

from backbones.checkpoint_files import TOKENIZER, CheckpointError

Files = dict[str, Path | str]  # name -> the file, or what is to stand in it
CLIP = "openai/clip-vit-large-patch14"
#: Checkpoints of the Hub that have it: (id, folder in it).
OF_THE_HUB = (
    (CLIP, ""), ("stable-diffusion-v1-5/stable-diffusion-v1-5", "tokenizer/"),
    ("stabilityai/stable-diffusion-xl-base-1.0", "tokenizer/"), ("stabilityai/stable-diffusion-2-1", "tokenizer/"),
    ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", ""), ("openai/clip-vit-base-patch32", ""),
)  # fmt: skip
MERGES = 49152 - 256 - 2  # of CLIP's 49,408 tokens: those that are no bytes and no marks
MARKS = ("<|startoftext|>", "<|endoftext|>")


def tokenizer(file: Path, words: int, places: int, fills: str, fetch: bool) -> Files:
    """The files of a tokenizer. file: of the checkpoint. words, places: of its text encoder. fills: the token that a
    text is filled up with. fetch: whether the Hub may be asked.

    Raises CheckpointError where none is found, with where one can be put.
    """
    found = next((one for one in _found(file, fetch) if count(one) == words), None)
    if found is None:
        home = file.parent / "tokenizer"
        raise CheckpointError(
            f"{file}: the tokenizer of its text encoder ({words:,} tokens) is missing, since a single file has none. "
            f"Put one (tokenizer.json, or vocab.json and merges.txt) into {home}: the folder tokenizer of any Stable "
            f"Diffusion checkpoint, or what `hf download {CLIP} vocab.json merges.txt` fetches. The package "
            "open_clip_torch has it, too, and is asked where it is installed"
        )
    start, end = MARKS
    said = {"tokenizer_class": "CLIPTokenizer", "model_max_length": places, "bos_token": start, "eos_token": end,
            "unk_token": end, "pad_token": fills}  # fmt: skip
    return {**found, "tokenizer_config.json": json.dumps(said, indent=1)}


def count(files: Files) -> int:
    """Tokens of a tokenizer; 0 where its files cannot be read."""
    try:
        if "vocab.json" in files:
            return len(json.loads(_text(files["vocab.json"])))
        said = json.loads(_text(files["tokenizer.json"]))
        return len({*said["model"]["vocab"], *(one["content"] for one in said.get("added_tokens", ()))})
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _text(source: Path | str) -> str:
    return source.read_text(encoding="utf-8") if isinstance(source, Path) else source


def _found(file: Path, fetch: bool) -> Iterator[Files]:
    """Those on this machine, the nearest first; then the Hub's."""
    here = file.parent
    for folder in (file.with_suffix("") / "tokenizer", here / "tokenizer", *sorted(here.glob("*/tokenizer"))):
        if files := _in_folder(folder):
            yield files
    for repo, inside in OF_THE_HUB:
        yield from _of_the_hub(repo, inside)
    yield from _of_open_clip()
    if fetch:
        yield from _fetched()


def _in_folder(folder: Path) -> Files:
    for need in TOKENIZER:
        if all((folder / name).is_file() for name in need):
            return {name: folder / name for name in need}
    return {}


def _of_the_hub(repo: str, inside: str) -> Iterator[Files]:
    from huggingface_hub import try_to_load_from_cache

    for need in TOKENIZER:
        paths = {name: try_to_load_from_cache(repo, inside + name) for name in need}
        if all(isinstance(path, str) for path in paths.values()):
            yield {name: Path(str(path)) for name, path in paths.items()}


def _fetched() -> Iterator[Files]:
    """The two files of CLIP's, 1.4 MB, from the Hub."""
    from huggingface_hub import hf_hub_download

    try:
        yield {name: Path(hf_hub_download(CLIP, name)) for name in ("vocab.json", "merges.txt")}
    except Exception:  # out of reach: what is missing is said
        return


def _of_open_clip() -> Iterator[Files]:
    """From the list of merges that the package open_clip has, which is not imported."""
    spec = importlib.util.find_spec("open_clip")
    file = Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz" if spec and spec.origin else None
    if file is not None and file.is_file():
        yield from_merges(gzip.decompress(file.read_bytes()).decode("utf-8"))


def from_merges(text: str, most: int = MERGES) -> Files:
    """vocab.json and merges.txt from OpenAI's list of merges, a line each after the first: bytes in the order of their
    codes, these at the end of a word, what is merged of them, and the marks."""
    merges = text.split("\n")[1 : most + 1]
    alphabet = _bytes_in_order()
    tokens = [*alphabet, *(f"{one}</w>" for one in alphabet), *("".join(line.split()) for line in merges), *MARKS]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    said = json.dumps(vocabulary, ensure_ascii=False)
    return {"vocab.json": said, "merges.txt": "\n".join(["#version: 0.2", *merges])}


def _bytes_in_order() -> list[str]:
    """The characters that stand for the 256 bytes: printable ones for themselves and first, as in GPT-2."""
    alphabet = set(ByteLevel.alphabet())
    return [*sorted(one for one in alphabet if ord(one) < 256), *sorted(one for one in alphabet if ord(one) >= 256)]
