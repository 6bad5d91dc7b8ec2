"""How a network is named: by where it is, a folder or an id of the Hub; and in recipes, which are for everybody.

No torch here.
"""

import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from backbones.checkpoint_files import CheckpointError
from backbones.embedded import EMBEDDED

ID = r"[\w-][\w.-]*/[\w.-]+"  # of the Hub: owner/name
HUB = re.compile(rf"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)(?:/(?P<id>{ID}))?(?P<rest>[/?#].*)?", re.I)
CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]")  # in the path of a folder of the Hub's cache


def hub_id(id: str) -> str | None:
    """The "owner/name" of an id of the Hub or of its address there; None for a path. Raises CheckpointError for other
    addresses."""
    if Path(id).expanduser().exists():
        return None
    page = HUB.fullmatch(id.strip())
    if page and page["id"] and (page["rest"] or "").strip("/") in ("", "tree/main"):
        return page["id"]
    if page or "://" in id:
        raise CheckpointError(f"{id} is an address of no checkpoint of the Hugging Face Hub: give an id such as "
                              "owner/name, or a folder in diffusers' layout on this machine")  # fmt: skip
    if re.fullmatch(rf"{ID}[@:][\w./-]+", id):
        raise CheckpointError(f"{id}: a revision cannot be chosen. Give the id alone, owner/name, or fetch the "
                              "revision with `hf download --revision ... --local-dir FOLDER` and give the folder"
                              )  # fmt: skip
    return id if re.fullmatch(ID, id) else None


def name_of(place: str) -> str:
    """What a network is called in recipes, and so in images: an id of the Hub or of an embedded network as it is, a
    folder by its last name, without the path to it.

    A folder that is called as an embedded network is keeps the name of the folder above it, too.
    """
    if place in EMBEDDED:
        return place
    if found := CACHED.search(place):
        return f"{found[1]}/{found[2]}"
    if (page := HUB.fullmatch(place.strip())) and page["id"]:
        return page["id"]
    windows = bool(PureWindowsPath(place).drive)
    if not (windows or place.startswith(("/", "./", "../", "~/")) or (place and Path(place).exists())):
        return place
    path: PurePath = PureWindowsPath(place) if windows else PurePosixPath(place)
    if path.name in ("", "."):
        path = Path(place).resolve()
    return "/".join(path.parts[-2:]) if path.name in EMBEDDED else path.name or place
