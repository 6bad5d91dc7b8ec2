"""The app's addresses beside Gradio's own: images, files to take along, what is known of methods, scripts."""

from __future__ import annotations

from starlette.routing import Route

from app.routes import assets, catalogue, comparisons, images, loras, of_the_stage, share_card, trajectories
from app.service.state import AppState


def all_routes(state: AppState) -> list[Route]:
    """For Gradio's server to have in front of its own."""
    return [
        *comparisons.routes(state),
        *trajectories.routes(state),
        *images.routes(state),
        *loras.routes(state),
        *of_the_stage.routes(state),
        *catalogue.routes(state),
        *assets.routes(),
        *share_card.routes(),
    ]
