"""The tabs of the page that keep a visit, on the exact oracle, without a browser."""

import gradio as gr

from app.service.state import AppState
from app.storage.image_history import History
from app.tabs import compare, create, trajectory
from app.tabs.returning import Returning


def opened_page(folder):
    """Their images lie in this folder."""
    state = AppState("exact", History(folder))
    with gr.Blocks(), gr.Tabs() as tabs:
        with gr.Tab("Create"):
            making = create.tab(state)
        with gr.Tab("Compare") as own:
            cells = compare.tab(state, making, tabs, own)
        with gr.Tab("Trajectory") as following:
            paths = trajectory.tab(state, making, tabs, following)
        return Returning(state, making, cells, paths, tabs)
