"""What is fetched from the Hugging Face Hub into its cache on this machine: whole files, with their sizes known before.

Files that were fetched are not fetched again. No torch here.
"""

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.checkpoint_files import CheckpointError, Header
from backbones.names import Place

Tell = Callable[[int, int], object]  # bytes that are here, of how many in all
MARGIN = 200_000_000  # bytes that are left free on the disk


@dataclass(frozen=True)
class Repository:
    """What the Hub has under an id, at one revision."""

    place: Place
    sizes: Mapping[str, int]  # path -> bytes

    def inside(self, folder: str) -> set[str]:
        """Names of the files in one of its folders; of "" those beside them."""
        begin = f"{folder}/" if folder else ""
        rest = {path.removeprefix(begin) for path in self.sizes if path.startswith(begin)}
        return {name for name in rest if "/" not in name}


class NotFetched(Exception):
    """What is wanted is on the Hub, and not here yet: `fetch` brings it. words: what it is."""

    def __init__(self, place: Place, words: str, fetch: Callable[[Tell], object]):
        super().__init__(f"{words} has not been fetched from the Hugging Face Hub yet")
        self.place, self.words, self.fetch = place, words, fetch


def cached(place: Place, file: str) -> Path | None:
    """The folder in the Hub's cache on this machine that has this file of it, whole or not otherwise."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place.repo, file, revision=place.revision or None)
    return _folder(Path(found), file) if isinstance(found, str) else None


def look(place: Place) -> Repository:
    """Asks the Hub. Raises CheckpointError in words: no such id or revision, gated, out of reach."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(place.repo, revision=place.revision or None, files_metadata=True)
    except Exception as error:
        raise in_words(place, error) from error
    return Repository(place, {one.rfilename: int(one.size or 0) for one in info.siblings or ()})


def read_json(repository: Repository, file: str) -> dict[str, Any]:
    """A small file of it, fetched. Raises CheckpointError where there is none, or it is no JSON object."""
    where = fetch(repository, [file])
    try:
        found = json.loads((where / file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{repository.place}: its {file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{repository.place}: its {file} cannot be read: it is no JSON object")
    return found


def fetch(repository: Repository, files: Collection[str], tell: Tell = lambda done, total: None) -> Path:
    """These files of it -> the folder in the Hub's cache that has them. Where one is missing there, or the disk has no
    room for all, nothing is fetched. Raises CheckpointError in words."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    place, sizes = repository.place, repository.sizes
    if missing := sorted(set(files) - set(sizes)):
        raise CheckpointError(f"{place} has no {missing[0]} on the Hugging Face Hub")
    revision = place.revision or None
    kept = {file: try_to_load_from_cache(place.repo, file, revision=revision) for file in files}
    here = {file for file, path in kept.items() if isinstance(path, str) and Path(path).stat().st_size == sizes[file]}
    total, done = sum(sizes[file] for file in files), sum(sizes[file] for file in here)
    _check_room(place, total - done)
    tell(done, total)
    folder = None
    for file in sorted(files, key=lambda one: (sizes[one], one)):
        counter = _counter(tell, done, total)
        try:
            damaged = isinstance(kept[file], str) and file not in here
            found = hf_hub_download(
                place.repo, file, revision=revision, tqdm_class=counter, force_download=damaged
            )
        except Exception as error:
            raise in_words(place, error) from error
        if file not in here:
            done += sizes[file]
            tell(done, total)
        folder = _folder(Path(found), file)
    if folder is None:
        raise CheckpointError(f"{place} has nothing on the Hugging Face Hub that is read here")
    return folder


def header_of(place: Place, file: str) -> Header:
    """Of a .safetensors file on the Hub, of which no more than that is fetched. Raises CheckpointError in words."""
    from huggingface_hub import HfApi

    try:
        said = HfApi().parse_safetensors_file_metadata(place.repo, file, revision=place.revision or None)
    except Exception as error:
        raise in_words(place, error) from error
    shapes = {name: tuple(one.shape) for name, one in said.tensors.items()}
    return Header(shapes, {name: str(one.dtype) for name, one in said.tensors.items()}, said.metadata)


def _folder(found: Path, file: str) -> Path:
    """Of a repository, where one of its files is."""
    return found.parents[file.count("/")]


def _check_room(place: Place, wanted: int) -> None:
    from huggingface_hub import constants

    home = Path(constants.HF_HUB_CACHE)
    there = next(one for one in (home, *home.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if wanted and wanted + MARGIN > free:
        raise CheckpointError(f"{place}: {in_gigabytes(wanted)} are to be fetched, and {home} has {in_gigabytes(free)} "
                              "free: make room there, or let HF_HOME name a folder on another disk")  # fmt: skip


def in_gigabytes(size: int) -> str:
    """Such as "4.27 GB", or below a tenth of one "12 MB"."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"


def fetching(done: int, total: int) -> str:
    """How far it is, in words."""
    return f"Fetching from the Hugging Face Hub: {in_gigabytes(done)} of {in_gigabytes(total)}"


def _counter(tell: Tell, before: int, total: int) -> type:
    """What huggingface_hub takes for its progress bar, and calls with the bytes as they come."""
    from tqdm import tqdm

    class Counter(tqdm):  # type: ignore[type-arg]
        def __init__(self, *words: Any, **options: Any):
            super().__init__(disable=True)
            self.there = before + int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self.there += int(n or 0)
            tell(min(self.there, total), total)
            return None

    return Counter


def in_words(place: Place, error: Exception) -> CheckpointError:
    """Why the Hub did not give it, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, CheckpointError):
        return error
    at = f"https://huggingface.co/{place.repo}"
    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(f"{place} is gated: accept its conditions at {at}, then `hf auth login` on this machine")
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(f"{place.repo} has no revision {place.revision}: its branches, tags and commits are at "
                               f"{at}/tree/main. Without @{place.revision} the newest is taken")  # fmt: skip
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(f"{place} is no folder here, and the Hugging Face Hub has none of that name, or a "
                               "private one: check the name; for a private one `hf auth login`")  # fmt: skip
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return CheckpointError(f"{place} is no folder here, and the Hugging Face Hub did not give it: {lines[0]} Check the "
                           "name and the connection, or fetch it elsewhere and give its folder. What was fetched of it "
                           "is kept")  # fmt: skip
