"""The look, measured: contrast, hues that differ to the eye, fonts that are really there."""

from itertools import combinations

import pytest

from app import theme


def linear(v):
    return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4


def rgb(colour):
    return [linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)]


def luminance(colour):
    return sum(v * w for v, w in zip(rgb(colour), (0.2126, 0.7152, 0.0722), strict=True))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def oklab(linear_rgb):
    r, g, b = linear_rgb
    l, m, s = (
        max(x, 0) ** (1 / 3)
        for x in (
            0.4122 * r + 0.5363 * g + 0.0514 * b,
            0.2119 * r + 0.6807 * g + 0.1074 * b,
            0.0883 * r + 0.2817 * g + 0.6300 * b,
        )
    )
    return (
        0.2105 * l + 0.7936 * m - 0.0041 * s,
        1.9780 * l - 2.4286 * m + 0.4506 * s,
        0.0259 * l + 0.7828 * m - 0.8087 * s,
    )


#: Machado, Oliveira, Fernandes 2009, severity 1
SEEN_BY = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0519)),
    "deuteranopia": ((0.3673, 0.8606, -0.2280), (0.2801, 0.6726, 0.0473), (-0.0118, 0.0430, 0.9688)),
}


def seen(colour, by):
    c = rgb(colour)
    return oklab([max(0.0, sum(w * v for w, v in zip(row, c, strict=True))) for row in SEEN_BY[by]])


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_reaches_aa_and_edges_three_to_one(mode):
    t = {name: pair[mode] for name, pair in theme.TOKENS.items()}
    for text in ("ink", "quiet", "accent", "warn", "error"):
        for ground in ("paper", "surface", "mat"):
            assert contrast(t[text], t[ground]) >= 4.5, f"{text} on {ground}"
    assert contrast(t["on-accent"], t["accent"]) >= 4.5
    assert contrast(t["on-accent"], t["accent-strong"]) >= 4.5
    for edge in ("edge", "focus"):
        for ground in ("paper", "surface"):
            assert contrast(t[edge], t[ground]) >= 3, f"{edge} on {ground}"


@pytest.mark.parametrize("by", SEEN_BY)
@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_nine_hues_can_be_told_apart(mode, by):
    assert len(theme.FAMILIES) == 9 and len({f.glyph for f in theme.FAMILIES.values()}) == 9
    paper = theme.TOKENS["paper"][mode]
    for family in theme.FAMILIES.values():
        assert contrast(family.hue[mode], paper) >= 3, family.name
    for a, b in combinations(theme.FAMILIES.values(), 2):
        x, y = seen(a.hue[mode], by), seen(b.hue[mode], by)
        distance = sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) ** 0.5
        assert distance >= (0.1 if by == "all cones" else 0.05), f"{a.name} and {b.name}: {distance:.3f}"


def test_families_are_those_of_the_registry():
    registry = pytest.importorskip("conditioning.registry")
    assert set(theme.FAMILIES) == {family.rsplit("/", 1)[-1] for family in registry.FAMILIES}


def test_fonts_come_with_gradio_and_hold_the_letters():
    from gradio.themes.utils import fonts

    for name in (theme.SANS, theme.MONO):
        for weight in theme.WEIGHTS:
            path = fonts.font_file_path(name, weight)
            assert path.exists() and path.stat().st_size > 20_000, f"{path.name} holds a part of the letters only"


def test_the_sheet_names_no_other_host_and_knows_its_variables():
    import re

    sheet = theme.css() + theme.head()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", sheet)
    used = set(re.findall(r"var\((--nw-[a-z-]+)", sheet))
    assert used <= set(re.findall(r"(--nw-[a-z-]+):", sheet)), "a colour that no token defines"


def test_gradio_takes_the_theme():
    made = theme.theme()
    assert made.body_background_fill == theme.TOKENS["paper"][0]
    assert made.body_background_fill_dark == theme.TOKENS["paper"][1]


def test_what_is_marked_important_has_its_reason_beside_it():
    lines = [line for name in theme.STYLES for line in (theme.ASSETS / f"{name}.css").read_text().splitlines()]
    marked = [line for line in lines if "!important" in line]
    assert all("/*" in line for line in marked)
    assert len(marked) <= 5, "specificity first (states.css), then Gradio's own settings; this last"


def test_a_class_is_styled_by_one_sheet():
    """Else what one tab says of it is done to another's elements, too."""
    import re

    sheets: dict[str, set[str]] = {}
    for name in theme.STYLES:
        text = re.sub(r"/\*.*?\*/", "", (theme.ASSETS / f"{name}.css").read_text(encoding="utf-8"), flags=re.S)
        for selector in ",".join(re.findall(r"([^{}]+){", text)).split(","):
            if re.fullmatch(r"\.[\w-]+", selector.strip()):
                sheets.setdefault(selector.strip(), set()).add(name)
    assert {name: found for name, found in sheets.items() if len(found) > 1} == {}
