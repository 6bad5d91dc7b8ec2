"""The app's addresses beside Gradio's own: images, files to take along, what is known of methods, scripts."""

from __future__ import annotations

from starlette.routing import Route

from app.pages.studio import Studio
from app.routes import catalogue, comparisons, images, scripts, trajectories


def all_routes(studio: Studio) -> list[Route]:
    """For Gradio's server to have in front of its own."""
    return [
        *comparisons.routes(studio),
        *trajectories.routes(studio),
        *images.routes(studio),
        *catalogue.routes(studio),
        *scripts.routes(),
    ]
