"""The page, its tabs put together: `build` makes it, `serve_options` says how it is served.

Importing this module imports Gradio and nothing of torch: the page is up while the network still loads.
"""

from __future__ import annotations

import os
from html import escape
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from app import scripts, theme
from app.endpoints import add_endpoints
from app.routes import all_routes
from app.routes.share_card import ShareCard
from app.service.models import Model
from app.service.state import AppState
from app.tabs import compare, create, history, taxonomy, trajectory
from app.tabs.introductions import introduction
from app.tabs.listeners import SHORT
from app.tabs.returning import Returning

LARGEST_UPLOAD = "32mb"
KEYS = (
    ("Ctrl", "Enter", "Generate, on every tab (⌘ Enter on a Mac); in Compare and Trajectory: their own run"),
    ("Esc", "", "Cancel the run; from an image of a batch back to all of them"),
    ("←", "→", "Walk through the images, in History from page to page"),
    ("Delete", "", "In History: delete what is selected, or the image in view"),
    ("Ctrl", "Z", "Undo the last change of settings, masks or boxes; in History, the last delete"),
    ("Ctrl", "V", "An image from the clipboard: as a dropped one, with the choice of what it is for"),
    ("?", "", "This list"),
)


def build(state: AppState) -> gr.Blocks:
    """The page over a state. Serve it with `page.launch(**serve_options(state))`."""
    with gr.Blocks(title="Nine Ways", analytics_enabled=False, fill_width=True, delete_cache=(3600, 24 * 3600)) as page:
        header = gr.HTML(_header(state.model()), elem_id="nw-header", apply_default_css=False)
        with gr.Tabs(elem_id="nw-tabs", selected="create") as tabs:
            with _tab("Create"):
                gr.HTML(introduction("create"), apply_default_css=False)
                making = create.tab(state)
            with _tab("History") as kept:
                gr.HTML(introduction("history"), apply_default_css=False)
                images = history.tab(state, making, tabs, kept)
            with _tab("Compare") as side_by_side:
                gr.HTML(introduction("compare"), apply_default_css=False)
                cells = compare.tab(state, making, tabs, side_by_side)
            with _tab("Trajectory") as following:
                gr.HTML(introduction("trajectory"), apply_default_css=False)
                paths = trajectory.tab(state, making, tabs, following)
            with _tab("Taxonomy") as ways:
                gr.HTML(introduction("taxonomy"), apply_default_css=False)
                taxonomy.tab(state, making, tabs, ways)
        paths.opens(making.stage.follow, [making.visit], making.recipe_of)
        paths.opens(images.detail.follow, [making.visit], images.recipe_of)
        paths.opens(cells.board.follow, [cells.id, cells.visit], cells.recipe_of)
        back = Returning(state, making, cells, paths, tabs)
        page.load(None, None, None, js=back.begin, **SHORT)
        page.load(None, making.controls, None, js=create.REMEMBER, **SHORT)
        page.load(None, back.controls, None, js=back.remember, **SHORT)
        add_endpoints(state)
        gr.HTML(_keys(), elem_id="nw-keys-holder", apply_default_css=False)
        clock = gr.Timer(1.0, active=False)

        def look(backbone: Any) -> dict[Any, Any]:
            model = state.model(backbone)
            model.start()
            return {header: _header(model), clock: gr.Timer(active=model.state()[0] == "loading")}

        def tick(prompt: str, negative: str, width: Any, height: Any, backbone: Any) -> dict[Any, Any]:
            model, shown = state.model(backbone), look(backbone)
            if model.state()[0] == "loading":
                return shown
            size, usual = model.default_size(), {other.default_size() for other in state.models.values()}
            sides = {making.width: width, making.height: height}
            resized = {side: size for side, value in sides.items() if value in usual and value != size}
            return {**shown, **making.texts.said(prompt, negative, backbone), **resized}

        seen = [making.prompt, making.negative, making.width, making.height, making.backbone]
        outputs = [header, clock, *making.texts.outputs, making.width, making.height]
        said = [making.stack, making.marks]  # once the network is there, what does not fit it can be said
        page.load(look, making.backbone, [header, clock], **SHORT)
        ticked = gr.on([clock.tick, making.backbone.change], tick, seen, outputs, **SHORT)
        # not with the page: the size that the browser kept comes first
        for one in (ticked, back.placed.then(tick, seen, outputs, **SHORT)):
            one.then(making.restack, making.controls, said, **SHORT)
    page.queue(max_size=256, default_concurrency_limit=None, api_open=False)
    return page


def _tab(name: str) -> gr.Tab:
    """A tab; that it was chosen is heard before all else that happens then: in Gradio each waits for the one before."""
    tab = gr.Tab(name, id=name.lower())
    tab.select(None, None, None, js=scripts.call("visit", "tabChosen", tab.id), **SHORT)
    return tab


def serve_options(state: AppState) -> dict[str, Any]:
    """Arguments of `launch`: only this machine by default, no tunnel, no folder opened, nothing fetched from elsewhere.

    Gradio reads GRADIO_SERVER_NAME, GRADIO_SERVER_PORT, GRADIO_ROOT_PATH and others by itself.
    """
    return {
        "theme": theme.theme(),
        "head": theme.head(),
        "footer_links": [],
        "share": False,
        "ssr_mode": False,
        "strict_cors": True,
        "max_file_size": LARGEST_UPLOAD,
        "max_threads": 256,  # a run waits in a thread; the engine's one thread does the work
        "enable_monitoring": False,
        "show_error": True,
        "app_kwargs": {"routes": all_routes(state), "middleware": [Middleware(ShareCard)]},
        "favicon_path": str(theme.ASSETS / "icon.svg"),
        "quiet": True,  # app.terminal says where the page is, without hints at a tunnel
        "server_name": os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if _on_spaces() else "127.0.0.1"),
    }


def _on_spaces() -> bool:
    return os.environ.get("SYSTEM") == "spaces"


def _header(model: Model) -> str:
    kind, words = model.state()
    words = model.name if words.lower() == "ready" else words if kind == "failed" else f"{model.name}: {words}"
    moon = (
        '<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path fill="currentColor" '
        'd="M8 1.500a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM8 3v10A5 5 0 0 1 8 3z"/></svg>'
    ).replace(".500", ".5")
    return (
        '<header class="nw-header"><h1>Nine Ways</h1><p class="nw-tag">to tell a diffusion model what you want</p>'
        f'<span class="nw-grow"></span><span class="nw-model" data-state="{kind}" role="status">'
        f'<span class="nw-dot" aria-hidden="true"></span>{escape(words)}</span>'
        '<button type="button" class="nw-quiet-button" id="nw-keys-open" aria-haspopup="dialog">Keys</button>'
        f'<button type="button" class="nw-quiet-button" id="nw-mode" aria-label="Dark">{moon}</button></header>'
    )


def _keys() -> str:
    rows = "".join(
        f"<dt>{' '.join(f'<kbd>{key}</kbd>' for key in (first, second) if key)}</dt><dd>{what}</dd>"
        for first, second, what in KEYS
    )
    return (
        f'<dialog class="nw-keys" id="nw-keys" aria-label="Keys"><h2>Keys</h2><dl>{rows}</dl>'
        '<button type="button" class="nw-act" id="nw-keys-close">Close</button></dialog>'
    )
