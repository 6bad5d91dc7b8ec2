"""The survey's tree, drawn: condition, two halves, nine families, the groups of the network's stages, 176 dots.

An SVG at its true size for wide screens, a list of the same families for narrow ones. Both are buttons; what they open
is assets/taxonomy.js's affair.
"""

from __future__ import annotations

from html import escape

from app import theme
from app.catalog import survey
from app.tabs.diagrams import CHANGES

ROW, GAP = 30, 16  # of a leaf; between the halves
HALF, FAMILY, LEAF, DOTS, END = 22, 118, 300, 448, 572  # where the columns begin, and the tree ends
PITCH, A_ROW = 8, 12  # of the dots
HALVES = {"network": ("Network", "before the run"), "sampling": ("Sampling", "during the run")}


def mark(status: str, size: int = 10) -> str:
    """The dot of a status, in the hue around it; a word stands beside it, or a title inside it."""
    dot = _dot(size / 2, size / 2, status, size / 2 - 1.2)
    box = f'width="{size}" height="{size}" viewBox="0 0 {size} {size}"'
    return f'<svg class="nw-dotmark" {box} aria-hidden="true">{dot}</svg>'


def _dot(x: float, y: float, status: str, r: float = 2.6, words: str = "") -> str:
    """Full: here. Half: covered. A ring: not here. A title tells which entry it is."""
    title = f"<title>{escape(words)}</title>" if words else ""
    if status == "here":
        return f'<circle class="nw-t-full" cx="{x:g}" cy="{y:g}" r="{r + 0.6:g}">{title}</circle>'
    half = f"M{x:g} {y - r:g}a{r:g} {r:g} 0 0 0 0 {2 * r:g}z"
    filled = f'<path class="nw-t-full" d="{half}"/>' if status == "covered" else ""
    return f'<g>{title}{filled}<circle class="nw-t-ring" cx="{x:g}" cy="{y:g}" r="{r:g}"/></g>'


def drawn() -> str:
    """The tree as SVG."""
    leaves = {key: _groups(key) for key in theme.FAMILIES}
    parts: list[str] = []
    y = 34.0
    halves: dict[str, list[float]] = {}
    for key, look in theme.FAMILIES.items():
        if halves and look.stage not in halves:
            y += GAP
        own = [y + ROW * i for i in range(len(leaves[key]))]
        y += ROW * len(own)
        middle = (own[0] + own[-1]) / 2
        halves.setdefault(look.stage, []).append(middle)
        parts.append(_family(key, middle, own, leaves[key]))
    lines, words = [], ['<text class="nw-t-name" x="0" y="13">Condition</text>']
    for stage, middles in halves.items():
        at = (middles[0] + middles[-1]) / 2
        lines.append(_branch(6, 20, HALF - 4, at))
        lines += [_curve(FAMILY - 36, at, FAMILY - 4, to) for to in middles]
        words.append(f'<text class="nw-t-quiet" x="{HALF}" y="{at + 4.5:g}">{HALVES[stage][0]}</text>')
    height = y - ROW / 2 + 8
    return (
        f'<svg class="nw-tree" width="{END}" height="{height:g}" viewBox="0 0 {END} {height:g}" role="group" '
        f'aria-label="The survey\'s tree: nine families, {len(survey.entries())} entries">'
        f'<g class="nw-t-lines">{"".join(lines)}</g>{"".join(words)}{"".join(parts)}</svg>'
    )


def listed() -> str:
    """The same as a list of buttons."""
    rows = []
    for stage, (name, when) in HALVES.items():
        rows.append(f'<h2>{name} <span class="nw-quiet">{when}</span></h2><ul>')
        for key, look in theme.FAMILIES.items():
            if look.stage != stage:
                continue
            some = survey.of_family(key)
            rows.append(
                f'<li><button type="button" class="nw-t-row" data-family="{key}" aria-pressed="false" '
                f'style="--family:var(--nw-{key})">{theme.glyph(key, 14)}<span><b>{look.name}</b>'
                f'<span class="nw-quiet">changes {CHANGES[key][0]}</span></span>'
                f'<span class="nw-quiet nw-t-numbers">{_counted(some)}</span></button></li>'
            )
        rows.append("</ul>")
    return f'<div class="nw-tree-list">{"".join(rows)}</div>'


def _counted(some: tuple[survey.SurveyEntry, ...]) -> str:
    found = survey.counts(some)
    return f"{mark('here')}{found['here']}{mark('covered')}{found['covered']}{mark('not')}{found['not']}"


def _groups(family: str) -> dict[str, tuple[survey.SurveyEntry, ...]]:
    """Group -> its entries; one group without a name for a mechanism of sampling."""
    some = survey.of_family(family)
    return {group: tuple(one for one in some if one.group == group) for group in dict.fromkeys(e.group for e in some)}


def _family(key: str, middle: float, rows: list[float], groups: dict[str, tuple[survey.SurveyEntry, ...]]) -> str:
    """One family with its leaves: one button. The dots lie beside it, since their titles are no part of its name; a
    click on them opens the family as well."""
    look = theme.FAMILIES[key]
    top, low = rows[0] - ROW / 2 + 1, rows[-1] + ROW / 2 - 1
    found = survey.counts(survey.of_family(key))
    listed = ", ".join(f"{group or CHANGES[key][0]} {len(some)}" for group, some in groups.items())  # what can be seen
    label = f"{look.name}, {listed}: {found['here']} here, {found['covered']} covered, {found['not']} not here"
    ground = f'x="{FAMILY - 4}" y="{top:g}" width="{END - FAMILY + 4}" height="{low - top:g}" rx="4"'
    parts = [
        f'<rect class="nw-t-ground" {ground}/>',
        f'<path class="nw-t-full" fill-rule="evenodd" transform="translate({FAMILY + 4} {middle - 7:g}) scale(.875)" '
        f'd="{look.path}"/>',
        f'<text class="nw-t-name" x="{FAMILY + 26}" y="{middle + 5:g}">{look.name}</text>',
    ]
    dots = []
    for y, (group, some) in zip(rows, groups.items(), strict=True):
        words = group or CHANGES[key][0]
        if len(rows) > 1:
            parts.append(_curve(LEAF - 36, middle, LEAF - 6, y, "nw-t-twig"))
        parts.append(f'<text class="nw-t-quiet" x="{LEAF}" y="{y + 4.5:g}">{words}</text>')
        dots.append(_dots(some, y))
        parts.append(f'<text class="nw-t-count" x="{END - 6}" y="{y + 4.5:g}" text-anchor="end">{len(some)}</text>')
    return (
        f'<g class="nw-t-leaves" style="--family:var(--nw-{key})"><g class="nw-t-family" data-family="{key}" '
        f'role="button" tabindex="0" aria-pressed="false" aria-label="{label}">{" ".join(parts)}</g>'
        f'<g data-panel-of="{key}">{"".join(dots)}</g></g>'
    )


def _dots(some: tuple[survey.SurveyEntry, ...], y: float) -> str:
    order = list(survey.STATUS)
    ranked = sorted(some, key=lambda one: order.index(one.status))
    rows = -(-len(ranked) // A_ROW)
    return "".join(
        _dot(
            DOTS + 4 + PITCH * (i % A_ROW), y + PITCH * (i // A_ROW - (rows - 1) / 2), one.status,
            words=f"{one.short}: {survey.STATUS[one.status][0]}",
        )
        for i, one in enumerate(ranked)
    )  # fmt: skip


def _curve(x: float, y: float, to_x: float, to_y: float, kind: str = "nw-t-branch") -> str:
    """From one column to the next, level at both ends."""
    bend = (x + to_x) / 2
    return f'<path class="{kind}" d="M{x:g} {y:g}C{bend:g} {y:g} {bend:g} {to_y:g} {to_x:g} {to_y:g}"/>'


def _branch(x: float, y: float, to_x: float, to_y: float) -> str:
    """Down the trunk and off it."""
    return f'<path class="nw-t-branch" d="M{x:g} {y:g}V{to_y - 8:g}q0 8 8 8H{to_x:g}"/>'
