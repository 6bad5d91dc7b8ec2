"""The project's colours, light and dark: of the page, of its plots, of files that it writes, of plots in the docs."""

from __future__ import annotations

#: name -> (light, dark). Text tokens reach 4.5:1 on paper and surface, `edge` and `focus` 3:1 (test_theme.py).
TOKENS: dict[str, tuple[str, str]] = {
    "paper": ("#fafaf8", "#151619"),  # the page
    "surface": ("#ffffff", "#1d1f23"),  # fields, menus
    "mat": ("#efefeb", "#0e0f11"),  # behind images
    "line": ("#deded8", "#30333a"),  # a hairline between things
    "edge": ("#878880", "#6f747d"),  # the edge of something one can use
    "ink": ("#1b1c1e", "#ecedef"),  # text
    "quiet": ("#595b60", "#a7abb3"),  # text that can wait
    "accent": ("#1f55c6", "#8fb2ff"),  # the action of the moment
    "accent-strong": ("#17429c", "#b1c9ff"),
    "on-accent": ("#ffffff", "#0d1730"),
    "focus": ("#1f55c6", "#8fb2ff"),
    "warn": ("#7a5100", "#e9b95c"),
    "error": ("#ab231b", "#ff9f95"),
}

#: Runs side by side, in plots and above their images.
RUNS: dict[str, tuple[str, str]] = {
    "run-a": ("#1b1f24", "#f0ede6"), "run-b": ("#b3400f", "#f08a5b"), "run-c": ("#2a62b8", "#7fb0f5"),
    "run-d": ("#2c7a3f", "#74c98a"), "run-e": ("#8a3f9e", "#d08fe3"), "run-f": ("#8c6d00", "#d9b944"),
}  # fmt: skip

#: The nine families of the survey: 3:1 on paper, distinct under colour blindness.
HUES: dict[str, tuple[str, str]] = {
    "training": ("#3a3fa0", "#9b93f5"),
    "repurposing": ("#3f9397", "#5fe3ea"),
    "specialization": ("#286b0c", "#6bc586"),
    "inversion": ("#848b00", "#878e00"),
    "attention": ("#6d2c00", "#e0a034"),
    "blending": ("#be6a6a", "#cb5e6f"),
    "revision": ("#742469", "#f09ad2"),
    "guidance": ("#8b5cb4", "#9566cf"),
    "correction": ("#6c615c", "#ecd3b8"),
}


def light(*names: str) -> tuple[str, ...]:
    """These tokens in light mode, as plots and files have them."""
    return tuple(TOKENS[name][0] for name in names)
