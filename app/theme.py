"""How the page looks: fonts and sizes, glyphs of the families, style sheet, Gradio theme. Colours: `common.colours`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import scripts
from common.colours import HUES, RUNS, TOKENS

if TYPE_CHECKING:
    from gradio.themes import Base

ASSETS = Path(__file__).parent / "assets"
STYLES = ("page", "history", "methods", "maps", "taxonomy", "compare", "trajectory", "states")

SIZES = {"small": "13px", "text": "15px", "head": "20px"}  # three, and no more
SANS, MONO = "IBM Plex Sans", "IBM Plex Mono"  # both come with Gradio: nothing is fetched
WEIGHTS = (400, 700)  # Gradio's files of the weights between hold a few letters only


@dataclass(frozen=True)
class FamilyStyle:
    """One of the nine ways: the same hue and glyph wherever it appears."""

    key: str
    name: str
    glyph: str  # as text: plots, documents, plain terminals
    path: str  # as a 16 x 16 SVG path: the page
    stage: str

    @property
    def hue(self) -> tuple[str, str]:
        """In light mode, in dark mode."""
        return HUES[self.key]


_STAR = "M8 1.6l1.9 4.1 4.5.5-3.3 3 .9 4.4L8 11.4l-4 2.2.9-4.4-3.3-3 4.5-.5z"
_WAVE = "M1 10c1.6-6.5 4.6-6.5 7-2.4 2 3.4 3.6 3.2 5-1.6l2 .5c-2 6.8-5.6 7-8.6 2.2C4.7 5.9 3.8 6.2 3 10.5z"
_TARGET = "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 2a4 4 0 1 1 0 8 4 4 0 0 1 0-8zm0 2a2 2 0 1 0 0 4 2 2 0 0 0 0-4z"
_HALF = "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 1.6a4.4 4.4 0 0 1 0 8.8z"
_BOOK = "M3 3h10v10H3zM8.8 4.5v7h2.7v-7z"

#: In the survey's order: three stages of the network, six mechanisms of the sampling process.
FAMILIES: dict[str, FamilyStyle] = {
    f.key: f
    for f in (
        FamilyStyle("training", "Training", "■", "M3 3h10v10H3z", "network"),
        FamilyStyle("repurposing", "Re-purposing", "◧", _BOOK, "network"),
        FamilyStyle("specialization", "Specialization", "★", _STAR, "network"),
        FamilyStyle("inversion", "Inversion", "◀", "M13 2.5v11L3 8z", "sampling"),
        FamilyStyle("attention", "Attention", "◉", _TARGET, "sampling"),
        FamilyStyle("blending", "Blending", "◑", _HALF, "sampling"),
        FamilyStyle("revision", "Revising the process", "∿", _WAVE, "sampling"),
        FamilyStyle("guidance", "Guidance", "▲", "M8 2.5l6 11H2z", "sampling"),
        FamilyStyle("correction", "Correction", "◆", "M8 1.8L14.2 8 8 14.2 1.8 8z", "sampling"),
    )
}


def glyph(family: str, size: int = 12) -> str:
    """The family's glyph as inline SVG, in the family's hue; decoration only, a word stands beside it."""
    return (
        f'<svg class="nw-glyph" style="color:var(--nw-{family})" width="{size}" height="{size}" viewBox="0 0 16 16" '
        f'aria-hidden="true"><path fill="currentColor" fill-rule="evenodd" d="{FAMILIES[family].path}"/></svg>'
    )


def variables(dark: bool = False) -> dict[str, str]:
    """Every token as a CSS variable."""
    plain = {name: pair[dark] for name, pair in (TOKENS | RUNS).items()}
    colours = plain | {key: family.hue[dark] for key, family in FAMILIES.items()}
    return {f"--nw-{name}": colour for name, colour in colours.items()}


def css() -> str:
    """The style sheet of the page: the tokens of both modes, then those of `assets`."""

    def block(selector: str, values: dict[str, str]) -> str:
        return selector + " {" + " ".join(f"{k}: {v};" for k, v in values.items()) + "}\n"

    sizes = {f"--nw-{name}-size": size for name, size in SIZES.items()}
    fonts = {"--nw-sans": f"'{SANS}', system-ui, sans-serif", "--nw-mono": f"'{MONO}', ui-monospace, monospace"}
    return (
        block(":root", variables() | sizes | fonts)
        + block(".dark", variables(dark=True))
        + "".join((ASSETS / f"{name}.css").read_text(encoding="utf-8") for name in STYLES)
    )


def head() -> str:
    """What goes into the page's <head>: the style sheet and the scripts.

    The sheet inline, so that nothing is shown without it. Not `launch(css=...)`: Gradio rewrites that sheet in the
    browser and loses rules it does not know (@container).
    """
    return f"<style>\n{css()}\n</style>\n{scripts.head()}"


def theme() -> Base:
    """Gradio's own theme, set from the tokens."""
    import gradio as gr

    small, text, large = SIZES.values()
    base = gr.themes.Base(
        text_size=gr.themes.Size(xxs=small, xs=small, sm=small, md=text, lg=text, xl=large, xxl=large),
        radius_size=gr.themes.Size(xxs="2px", xs="3px", sm="4px", md="4px", lg="6px", xl="6px", xxl="6px"),
        font=[gr.themes.LocalFont(SANS, weights=WEIGHTS), "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont(MONO, weights=WEIGHTS), "ui-monospace", "monospace"],
    )
    colours = {
        "body_background_fill": "paper", "body_text_color": "ink", "body_text_color_subdued": "quiet",
        "background_fill_primary": "surface", "background_fill_secondary": "paper",
        "border_color_primary": "line", "border_color_accent": "accent", "border_color_accent_subdued": "edge",
        "color_accent_soft": "mat", "link_text_color": "accent", "link_text_color_hover": "accent-strong",
        "link_text_color_visited": "accent", "link_text_color_active": "accent-strong", "code_background_fill": "mat",
        "block_background_fill": "paper", "block_border_color": "line", "block_info_text_color": "quiet",
        "block_label_background_fill": "paper", "block_label_text_color": "quiet", "block_label_border_color": "line",
        "block_title_text_color": "quiet", "block_title_background_fill": "paper", "panel_background_fill": "paper",
        "panel_border_color": "line", "accordion_text_color": "ink", "table_text_color": "ink",
        "table_border_color": "line", "table_even_background_fill": "surface", "table_odd_background_fill": "surface",
        "table_row_focus": "mat",
        "input_background_fill": "surface", "input_background_fill_focus": "surface",
        "input_background_fill_hover": "surface", "input_border_color": "edge", "input_border_color_focus": "focus",
        "input_border_color_hover": "ink", "input_placeholder_color": "quiet",
        "slider_color": "ink", "loader_color": "accent", "stat_background_fill": "mat",
        "checkbox_background_color": "surface", "checkbox_background_color_selected": "ink",
        "checkbox_border_color": "edge", "checkbox_border_color_selected": "ink",
        "checkbox_label_background_fill": "paper", "checkbox_label_background_fill_hover": "mat",
        "checkbox_label_background_fill_selected": "mat", "checkbox_label_text_color": "ink",
        "error_background_fill": "surface", "error_border_color": "error", "error_text_color": "error",
        "error_icon_color": "error",
        "button_primary_background_fill": "accent", "button_primary_background_fill_hover": "accent-strong",
        "button_primary_border_color": "accent", "button_primary_border_color_hover": "accent-strong",
        "button_primary_text_color": "on-accent", "button_primary_text_color_hover": "on-accent",
        "button_secondary_background_fill": "surface", "button_secondary_background_fill_hover": "mat",
        "button_secondary_border_color": "edge", "button_secondary_border_color_hover": "ink",
        "button_secondary_text_color": "ink", "button_secondary_text_color_hover": "ink",
        "button_cancel_background_fill": "surface", "button_cancel_background_fill_hover": "mat",
        "button_cancel_border_color": "edge", "button_cancel_border_color_hover": "ink",
        "button_cancel_text_color": "ink", "button_cancel_text_color_hover": "ink",
    }  # fmt: skip
    both = {k: TOKENS[t][0] for k, t in colours.items()} | {f"{k}_dark": TOKENS[t][1] for k, t in colours.items()}
    plain = dict.fromkeys(
        ("block_shadow", "block_label_shadow", "input_shadow", "input_shadow_focus", "shadow_drop", "shadow_drop_lg",
         "button_primary_shadow", "button_primary_shadow_hover", "button_primary_shadow_active",
         "button_secondary_shadow", "button_secondary_shadow_hover", "button_secondary_shadow_active",
         "checkbox_label_shadow", "checkbox_shadow"), "none",
    )  # fmt: skip
    shape = {
        "block_border_width": "0px", "block_label_border_width": "0px", "block_title_border_width": "0px",
        "block_padding": "0px", "block_title_padding": "0px", "block_radius": "0px", "panel_border_width": "0px",
        "layout_gap": "16px", "form_gap_width": "0px", "input_border_width": "1px", "input_padding": "8px 10px",
        "input_radius": "4px", "button_border_width": "1px", "block_title_text_weight": "400",
        "block_title_text_size": small, "block_label_text_size": small, "block_info_text_size": small,
        "input_text_size": text, "body_text_size": text, "prose_text_size": text, "section_header_text_size": text,
        "button_large_text_size": text, "button_medium_text_size": text, "button_small_text_size": small,
        "button_large_text_weight": "400", "button_medium_text_weight": "400", "button_small_text_weight": "400",
        "button_large_padding": "10px 16px", "button_medium_padding": "8px 12px", "button_small_padding": "6px 10px",
    }  # fmt: skip
    return base.set(**both, **plain, **shape)
