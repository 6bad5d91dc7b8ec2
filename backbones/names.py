"""How a network is named: by where it is, a folder, a file or an id of the Hub; in recipes, which are for everybody.

No torch here.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from backbones.checkpoint_files import CheckpointError
from backbones.embedded import EMBEDDED

ID = r"[\w-][\w.-]*/[\w.-]+"  # of the Hub: owner/name
REVISION = r"[\w][\w./-]*"  # a branch, a tag or a commit
HUB = re.compile(rf"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)(?:/(?P<id>{ID}))?(?P<rest>[/?#].*)?", re.I)
HUB_FILE = re.compile(rf"(?P<repo>{ID})(?:@(?P<revision>\w[\w.-]*))?/(?P<path>[\w-][^?]*\.safetensors)", re.I)
#: In the path of a folder of the Hub's cache, or of a file in it.
CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\][^/\\]+([/\\][^?]+\.safetensors.*)?", re.I)


@dataclass(frozen=True)
class Place:
    """A repository of the Hub: "owner/name", and its branch, tag or commit, "" for the newest of main."""

    repo: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def local(name: str) -> Path:
    """A path as people write it: ~ is their home folder, and what begins with ~ and is nobody's stays as it is."""
    return Path(os.path.expanduser(name))


def hub_place(id: str) -> Place | None:
    """The repository of an id of the Hub, "owner/name" or "owner/name@revision", or of its address there; None for a
    path. Raises CheckpointError for other addresses, and for a revision that cannot be one."""
    if local(id).exists():
        return None
    if (page := HUB.fullmatch(id.strip())) and page["id"]:
        rest = (page["rest"] or "").strip("/")
        if rest in ("", "tree/main"):
            return Place(page["id"])
        if found := re.fullmatch(rf"(?:tree|commit)/({REVISION})", rest):
            return Place(page["id"], found[1])
    if page or "://" in id:
        raise CheckpointError(f"{id} is an address of no checkpoint of the Hugging Face Hub: give an id such as "
                              "owner/name or owner/name@revision, or a folder in diffusers' layout on this machine"
                              )  # fmt: skip
    repo, at, revision = id.partition("@")
    if re.fullmatch(rf"{ID}:[\w./-]+", id):
        raise CheckpointError(f"{id}: a revision is chosen with @, as in owner/name@revision")
    if not re.fullmatch(ID, repo):
        return None
    if at and not (re.fullmatch(REVISION, revision) and ".." not in revision):
        raise CheckpointError(f"{id}: {revision!r} is no revision. After the @ stands a branch, a tag or a commit of "
                              "the checkpoint, such as owner/name@main")  # fmt: skip
    return Place(repo, "" if revision == "main" else revision)


def hub_file(id: str) -> tuple[Place, str] | None:
    """The repository and the path in it of a .safetensors file of the Hub, "owner/name/file.safetensors" (with a
    revision "owner/name@v2/file.safetensors") or its address there; None for anything else, and for a file here."""
    if local(id).exists():
        return None
    if (page := HUB.fullmatch(id.strip())) and page["id"]:
        found = re.fullmatch(r"/(?:blob|resolve)/([^/]+)/([^?]+\.safetensors)(?:\?.*)?", page["rest"] or "", re.I)
        return (Place(page["id"], "" if found[1] == "main" else found[1]), found[2]) if found else None
    if not (found := HUB_FILE.fullmatch(id)) or ".." in found["path"]:
        return None
    return Place(found["repo"], found["revision"] or ""), found["path"]


def name_of(place: str) -> str:
    """What a network is called in recipes, and so in images: an id of the Hub (with its revision, where one was chosen)
    or of an embedded network as it is, a folder or a file by its last name, without the path to it.

    A folder that is called as an embedded network is keeps the name of the folder above it, too.
    """
    if place in EMBEDDED:
        return place
    if found := CACHED.search(place):
        return f"{found[1]}/{found[2]}{(found[3] or '').replace(chr(92), '/')}"
    if (there := hub_file(place)) and HUB.fullmatch(place.strip()):
        return f"{there[0]}/{there[1]}"
    if (page := HUB.fullmatch(place.strip())) and page["id"]:
        try:
            return str(hub_place(place) or page["id"])
        except CheckpointError:  # the address of something else in it
            return page["id"]
    if re.fullmatch(rf"{ID}@main", place):
        return place.removesuffix("@main")
    windows = bool(PureWindowsPath(place).drive)
    if not (windows or place.startswith(("/", "./", "../", "~/")) or (place and Path(place).exists())):
        return place
    path: PurePath = PureWindowsPath(place) if windows else PurePosixPath(place)
    if path.name in ("", "."):
        path = Path(place).resolve()
    return "/".join(path.parts[-2:]) if path.name in EMBEDDED else path.name or place
