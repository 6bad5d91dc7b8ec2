"""How the page's scripts are served: under an address that changes with them, for ever the same, at any root path."""

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import page_types, scripts, theme
from app.routes.assets import routes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def client():
    return TestClient(Starlette(routes=routes()))


@pytest.fixture
def afresh():
    """As a process that begins anew."""

    def forget():
        scripts.modules.cache_clear()
        scripts.version.cache_clear()

    forget()
    yield forget
    forget()


def test_every_module_is_served_and_kept_for_ever(client):
    for name, text in scripts.modules().items():
        answer = client.get(f"/{scripts.address(name)}")
        assert answer.content == text and answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"] and "max-age=31536000" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["assets/nine-ways-0000000000000000/page.js", "{base}/nothing.js", "{base}/../theme.py", "{base}/page.css"]
)
def test_nothing_else_is_served_and_nothing_of_another_version(client, path):
    answer = client.get("/" + path.format(base=scripts.address("page").rpartition("/")[0]))
    assert answer.status_code == 404 and "immutable" not in answer.headers.get("cache-control", "")


def test_the_address_changes_with_any_module_and_with_nothing_else(afresh, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "FOLDER", tmp_path)
    (tmp_path / "page.js").write_text("import './other.js';")
    (tmp_path / "other.js").write_text("1")
    first = scripts.address("page")
    afresh()
    assert scripts.address("page") == first
    (tmp_path / "other.js").write_text("2")
    assert scripts.address("page") == first, "what is served is what was there when the app began"
    afresh()
    second = scripts.address("page")
    (tmp_path / "other.js").rename(tmp_path / "renamed.js")
    afresh()
    assert len({first, second, scripts.address("page")}) == 3


def test_addresses_are_relative_so_that_any_path_and_protocol_will_do():
    head = theme.head()
    found = re.findall(r'(?:src|href)="([^"]*\.js)"', head)
    assert {Path(one).stem for one in found} == set(scripts.modules())
    assert all(one.startswith("assets/nine-ways-") for one in found)
    assert "document.baseURI" in scripts.mount("stack") and "//" not in scripts.mount("stack")


def test_a_component_names_a_module_that_is_there_and_its_events():
    import gradio as gr

    with gr.Blocks():
        board = gr.HTML(js_on_load=scripts.mount("comparison", "mountBoard", ["vote", "use"]))
    assert board.vote and board.use
    with pytest.raises(KeyError):
        scripts.mount("no_such_module")


def test_what_is_mounted_is_exported():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "app" / "tabs").glob("*.py")]
    calls = re.findall(r'scripts\.(mount|call)\("(\w+)"(?:, "(\w+)")?', "\n".join(texts))
    assert len(calls) > 10
    for _, name, function in calls:
        assert f"export function {function or 'mount'}(" in scripts.modules()[name].decode()


def test_the_types_of_the_scripts_are_those_of_the_server():
    assert page_types.FILE.read_text(encoding="utf-8") == page_types.declarations(), "run python -m app.page_types"
