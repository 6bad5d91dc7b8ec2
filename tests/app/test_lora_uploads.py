"""LoRA files that are uploaded: kept where they are what they say, on a machine of one's own, whole or not at all."""

import pickle

import pytest
import torch
from safetensors.torch import save
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.routes import all_routes
from app.schema.recipe import Recipe
from app.service.state import AppState
from app.storage.image_history import History
from backbones import lora_files
from tests.support.page import opened_page

LORA = save({"unet.a.lora_A.weight": torch.ones(2, 8), "unet.a.lora_B.weight": torch.ones(8, 2)})
SENT = {"X-Nine-Ways": "1"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_LORAS", str(tmp_path / "loras"))
    return tmp_path / "loras"


@pytest.fixture
def post(home, tmp_path):
    state = AppState("exact", History(tmp_path / "history"))
    client, token = TestClient(Starlette(routes=all_routes(state))), state.visit_token("mine")

    def post(name, data, token=token, headers=SENT):
        answer = client.post("/loras", params={"name": name, "visit_token": token}, content=data, headers=headers)
        assert ("error" in answer.json()) is (answer.status_code != 200)
        return answer.json()

    return post


def files(home):
    return sorted(str(file.relative_to(home)) for file in home.rglob("*")) if home.exists() else []


def test_a_file_is_kept_and_found_by_its_name(post, home):
    assert post("my ink v2.safetensors", LORA) == {"name": "my ink v2", "size": f"{len(LORA)} bytes"}
    assert lora_files.find("my ink v2").read_bytes() == LORA and files(home) == ["my ink v2.safetensors"]
    assert "is here already" in post("my ink v2.safetensors", LORA)["error"], "none is written over"


@pytest.mark.parametrize("name, data, words", [
    ("old.ckpt", pickle.dumps({}), "is no .safetensors file, and others are not read: a pickle"),
    ("old.safetensors", pickle.dumps({"a": 1}), "old.safetensors is damaged, or no safetensors file"),
    ("cut.safetensors", LORA[:-3], "cut.safetensors is cut off"),
    ("model.safetensors", save({"conv.weight": torch.ones(2)}), "is no LoRA file: none of its 1 tensors"),
    ("../up.safetensors", LORA, "The name may have letters"), ("a/b.safetensors", LORA, "The name may have letters"),
    (".hidden.safetensors", LORA, "The name may have letters"), ("", LORA, "is no .safetensors file"),
])  # fmt: skip
def test_what_is_no_lora_file_is_refused_and_nothing_of_it_stays(post, home, name, data, words):
    assert words in post(name, data)["error"] and files(home) == []
    assert str(home) not in post(name, data)["error"], "where the folder lies is nobody's business"


def test_a_file_that_is_too_large_ends_on_the_way(post, home, monkeypatch):
    monkeypatch.setattr("app.routes.loras.LARGEST", 100)
    assert "has more than 100 bytes" in post("ink.safetensors", iter([LORA[:60], LORA[60:]]))["error"]
    assert "has more than 100 bytes" in post("ink.safetensors", LORA)["error"] and files(home) == []


def test_none_is_taken_from_other_sites_or_where_visits_are_private(post, home, monkeypatch):
    assert "load it once more" in post("ink.safetensors", LORA, headers={})["error"]
    assert "load it once more" in post("ink.safetensors", LORA, token="another")["error"]
    monkeypatch.setenv("NINE_WAYS_HISTORY", "private")
    assert "Files are not taken here" in post("ink.safetensors", LORA)["error"] and files(home) == []


def test_a_file_on_its_way_is_none_yet(home):
    home.mkdir()
    (home / ".part-0a.safetensors").write_bytes(LORA)
    assert set(lora_files.names()) == {"night"}


def test_settings_that_come_back_say_which_files_are_not_here(home, tmp_path):
    controls = opened_page(tmp_path / "history").create
    one = Recipe(backbone="exact", prompt="a disc <lora:night:1>", loras={"ink": "a" * 64})
    said = controls.fill(one, "Here.")[controls.restored]
    assert "“ink” (sha256 aaaaaaaaaaaa) is not here" in said and "night" not in said
    other = one.but(prompt="<lora:gone:1>", loras={})
    assert "“gone” is not here" in controls.fill(other, "Here.")[controls.restored]
