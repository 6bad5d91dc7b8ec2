"""What is said before anybody has clicked: by the terminal, and where a link to the page is shared."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app import terminal
from app.page import serve_options
from app.routes.share_card import TITLE, ShareCard, routes, with_tags
from app.service.state import AppState
from app.storage.image_history import History

GRADIO = """<head>
<meta property="og:title" content="Gradio" />
<meta
    property="og:image"
    content="https://elsewhere.example/header.jpg"
/>
<meta name="twitter:creator" content="@Gradio" /><meta name="viewport" content="width=device-width" />
</head><body>Gradio</body>"""


@pytest.mark.parametrize(("trouble", "last"), [("", "Exact: ready"), ("No file.", "No file.")])
def test_the_terminal_says_where_and_when_it_is_ready(tmp_path, trouble, last):
    state, said, asked = AppState("exact", History(tmp_path)), [], []

    def ready(seconds):
        asked.append(list(said))
        return len(asked) == 3

    kind = ("failed", trouble) if trouble else ("ready", "ready")
    known = {"trouble": trouble, "status": "loading", "waits_for_room": False}
    model = SimpleNamespace(name="Exact", ready=ready, state=lambda: kind, **known)
    state.models[state.id] = model
    terminal.report(state, "http://127.0.0.1:7860", said.append)
    assert said[0].endswith("http://127.0.0.1:7860") and str(tmp_path) in said[1]
    assert said[-2:] == ["Exact: loading", last] and asked[0][-1] == "Exact: loading", "said before it waits"


def test_gradio_says_nothing_of_its_own_and_has_our_icon(tmp_path):
    options = serve_options(AppState("exact", History(tmp_path)))
    assert options["quiet"] is True and open(options["favicon_path"]).read().startswith("<svg")


@pytest.mark.parametrize(("option", "code", "said"), [("--help", 0, "--open"), ("--share", 2, "--share")])
def test_help_is_printed_and_an_unknown_option_starts_nothing(option, code, said):
    app = Path(__file__).parents[2] / "app.py"
    ended = subprocess.run([sys.executable, app, option], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code and said in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_head_of_the_page_is_the_apps():
    async def pieces():
        for piece in GRADIO.split("\n"):
            yield piece + "\n"

    pages = [
        Route("/", lambda request: HTMLResponse(GRADIO)),
        Route("/pieces", lambda request: StreamingResponse(pieces(), media_type="text/html")),
        Route("/other", lambda request: PlainTextResponse(GRADIO)),
        *routes(),
    ]
    client = TestClient(Starlette(routes=pages, middleware=[Middleware(ShareCard)]), base_url="https://a.example")
    for path in ("/", "/pieces"):
        answer = client.get(path)
        head, body = answer.text.split("</head>")
        assert "Gradio" not in head and "elsewhere" not in head and "Gradio" in body and "viewport" in head
        assert f"<title>{TITLE}</title>" in head and f'og:title" content="{TITLE}"' in head
        picture = re.search(r'og:image" content="([^"]+)"', head)[1]
        assert picture.startswith("https://a.example/") and client.get(picture).headers["content-type"] == "image/webp"
    assert client.get("/other").text == GRADIO
    proxied = client.get("/", headers={"x-forwarded-proto": "http", "x-forwarded-host": "b.example"}).text
    assert "http://b.example/card.webp" in proxied
    assert b"<title>" not in with_tags(b"no head", "/")
