"""Nine Ways in the browser: pages (what is seen) over runs (what makes, streams and keeps the images)."""

from app.version import VERSION as __version__

__all__ = ["__version__"]
