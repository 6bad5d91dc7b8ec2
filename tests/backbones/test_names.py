"""What a network is called in recipes: for everybody, without the paths of one machine."""

import pytest

from backbones.checkpoint_files import CheckpointError
from backbones.names import name_of
from backbones.outline import outline


@pytest.mark.parametrize("place, name", [
    ("still-life", "still-life"), ("exact", "exact"), ("owner/name", "owner/name"),
    ("https://huggingface.co/owner/name", "owner/name"), ("hf.co/owner/name/tree/main", "owner/name"),
    ("/home/me/models/sd15", "sd15"), ("/home/me/models/sd15/", "sd15"), ("~/models/sd15", "sd15"),
    ("./models/sd15", "sd15"), (r"C:\Users\me\sd15", "sd15"), ("/home/me/models/still-life", "models/still-life"),
    ("/home/me/.cache/huggingface/hub/models--owner--name-xl--base/snapshots/0123abcd", "owner/name-xl--base"),
    ("a name of before", "a name of before"), ("", ""), ("/", "/"),
])  # fmt: skip
def test_names(place, name):
    assert name_of(place) == name and name_of(name) == name


def test_a_folder_here_is_no_id_of_the_hub(tmp_path, monkeypatch):
    (tmp_path / "models" / "sd15").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert name_of("models/sd15") == "sd15" and name_of("models/sdxl") == "models/sdxl"
    monkeypatch.chdir(tmp_path / "models" / "sd15")
    assert name_of(".") == "sd15"


def test_a_name_that_begins_with_the_home_folder_of_nobody_is_a_path_that_is_not_there():
    """Such as a recipe of somebody else may hold."""
    for name in ("~", "~nobody-of-this-name/model", "~ "):
        assert isinstance(name_of(name), str)
    with pytest.raises(CheckpointError, match=r"there is no checkpoint at .*~nobody-of-this-name"):
        outline("~nobody-of-this-name/model")
