"""Nine Ways in the browser: pages (what is seen) over runs (what makes, streams and keeps the pictures)."""

__version__ = "0.1.0"
