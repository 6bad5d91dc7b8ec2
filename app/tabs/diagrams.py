"""What each family changes in the process, drawn: noise, a few steps, an image, the network that is asked above them.

What stays is grey, what the family changes has its hue. Plain SVG over the page's variables, so both colour schemes are
right; 264 x 120 in CSS pixels at their true size, so words in it have the page's own small size on every screen.
"""

from __future__ import annotations

from itertools import pairwise
from math import cos, hypot, sin

WIDTH, HEIGHT = 264, 120
TILE = 32
LEFTS = (4, 78, 152, 228)  # of the tiles: noise, two states, the image
NOISE = (1.0, 0.55, 0.25, 0.0)  # in them
TOP = 68  # of the tiles
MIDDLE = TOP + TILE / 2
NETWORK = (60, 10, 144, 26)  # x, y, width, height

#: Family -> what it changes, in a word for the tree, and in a sentence.
CHANGES = {
    "training": ("the network, from the start", "The network learns the condition with everything else, in training."),
    "repurposing": ("the network, with a part more", "A trained network is taught to read one more kind of condition."),
    "specialization": ("the network, for a few images", "The network is fitted to a few images, before the run."),
    "inversion": ("the start", "The run starts from a given image, carried up into the noise."),
    "attention": ("the attention maps", "What the network looks at is taken from another run, or moved."),
    "blending": ("the denoised prediction", "Several predictions for one state are mixed into one."),
    "revision": ("the process", "The way from noise to image is another one, made for the condition."),
    "guidance": ("the direction", "Each step is pushed along a gradient, towards the condition."),
    "correction": ("the state", "After a step, what the condition fixes is put right."),
}  # fmt: skip


def diagram(family: str) -> str:
    """The family's diagram as inline SVG; the sentence beside it says the same in words."""
    extra = {
        "training": _training, "repurposing": _repurposing, "specialization": _specialization,
        "inversion": _inversion, "attention": _attention, "blending": _blending, "revision": _revision,
        "guidance": _guidance, "correction": _correction,
    }[family]()  # fmt: skip
    return (
        f'<svg class="nw-diagram" style="--family:var(--nw-{family})" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{CHANGES[family][1]}">'
        f"{_process(family)}{extra}</svg>"
    )


# the process that all of them change ----------------------------------------------------------------------------------


def _process(family: str) -> str:
    """The chain with the network over it, without what the family puts in its own hue."""
    states = zip(LEFTS, NOISE, strict=True)
    parts = [_tile(left, noise) for left, noise in states if family != "revision" or left in (LEFTS[0], LEFTS[-1])]
    if family == "revision":  # the way that is left
        parts.append(_line(LEFTS[0] + TILE + 4, MIDDLE, LEFTS[3] - 4, MIDDLE, "nw-d-old"))
    for i, (left, right) in enumerate(pairwise(LEFTS)):
        middle = (left + TILE + right) / 2
        if family != "revision":
            parts.append(_arrow(left + TILE + 4, MIDDLE, right - 4, MIDDLE))
        if family != "blending" or i != 1:
            parts.append(_line(middle, NETWORK[1] + NETWORK[3] + 4, middle, MIDDLE - 6, "nw-d-ask"))
    x, y, width, height = NETWORK
    kind = "nw-d-own" if family == "training" else "nw-d-network"
    parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>')
    if family not in ("attention", "specialization"):
        word = "nw-d-word nw-d-in" if family == "training" else "nw-d-word"
        parts.append(_text(x + width / 2, y + 17.5, "network", word))
    return "".join(parts)


def _tile(left: float, noise: float, top: float = TOP, size: float = TILE, kind: str = "nw-d-tile") -> str:
    """A state: the image of a cube and a ball, under as many specks as it has noise."""
    u = size / 32
    drawn = f'<rect class="{kind}" x="{left}" y="{top}" width="{size}" height="{size}" rx="2"/>'
    if noise < 1:
        drawn += (
            f'<g class="nw-d-scene" opacity="{1 - 0.75 * noise:.2f}">'
            f'<path d="M{left + 1} {top + 22 * u:g}H{left + size - 1}" class="nw-d-ground"/>'
            f'<rect x="{left + 5 * u:g}" y="{top + 11 * u:g}" width="{12 * u:g}" height="{13 * u:g}"/>'
            f'<circle cx="{left + 23 * u:g}" cy="{top + 20 * u:g}" r="{5 * u:g}"/></g>'
        )
    return drawn + _specks(left, top, size, noise)


def _specks(left: float, top: float, size: float, noise: float) -> str:
    """Dots on a grid of 8 x 8, pushed off it and left out by a rule that looks like chance and never changes."""
    cell, dots = (size - 4) / 8, []
    for i in range(64):
        chance = (sin(12.9898 * i + 4.1) * 43758.5453) % 1
        if chance < noise * 0.85:
            x = left + 2 + cell * (i % 8 + 0.5) + 0.9 * cos(7 * i)
            y = top + 2 + cell * (i // 8 + 0.5) + 0.9 * sin(5 * i)
            dots.append(f"M{x:.1f} {y:.1f}h.01")
    return f'<path class="nw-d-specks" d="{"".join(dots)}"/>' if dots else ""


def _line(x: float, y: float, to_x: float, to_y: float, kind: str = "nw-d-line") -> str:
    return f'<path class="{kind}" d="M{x:g} {y:g}L{to_x:g} {to_y:g}"/>'


def _arrow(x: float, y: float, to_x: float, to_y: float, kind: str = "nw-d-line") -> str:
    length = hypot(to_x - x, to_y - y)
    return _line(x, y, to_x, to_y, kind) + _head(to_x, to_y, (to_x - x) / length, (to_y - y) / length, kind)


def _head(x: float, y: float, along_x: float, along_y: float, kind: str) -> str:
    """The two strokes of an arrow's tip at (x, y)."""
    back_x, back_y = x - 5 * along_x, y - 5 * along_y
    return (
        f'<path class="{kind}" d="M{back_x - 3.5 * along_y:.1f} {back_y + 3.5 * along_x:.1f}L{x:g} {y:g}'
        f'L{back_x + 3.5 * along_y:.1f} {back_y - 3.5 * along_x:.1f}"/>'
    )


def _text(x: float, y: float, words: str, kind: str = "nw-d-word", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>'


# what each changes ----------------------------------------------------------------------------------------------------


def _training() -> str:
    x, y, _, height = NETWORK
    middle = y + height / 2
    words = _text(4, middle + 4.5, "words", "nw-d-word nw-d-hue", "start")
    return words + _arrow(45, middle, x - 4, middle, "nw-d-mark")


def _repurposing() -> str:
    x, y, width, height = NETWORK
    right, middle = x + width, y + height / 2
    return (
        f'<rect class="nw-d-own" x="{right + 24}" y="{y}" width="32" height="{height}" rx="4"/>'
        + f'<path class="nw-d-onown" d="M{right + 31} {y + 19}l6 -9 5 5 4 -4 5 8"/>'  # a map: ridges
        + _arrow(right + 20, middle, right + 4, middle, "nw-d-mark")
    )


def _specialization() -> str:
    x, y, width, height = NETWORK
    small = 20
    images = "".join(_tile(2 + 6 * i, 0, y - 3 + 6 * i, small, "nw-d-tile nw-d-lit") for i in range(3))
    star = "M0 -8.5L2.5 -3 8.5 -2.4 4 1.6 5.4 7.5 0 4.5 -5.4 7.5 -4 1.6 -8.5 -2.4 -2.5 -3z"
    return (
        images
        + _arrow(40, y + height / 2, x - 4, y + height / 2, "nw-d-mark")
        + f'<path class="nw-d-own" transform="translate({x + 20} {y + height / 2})" d="{star}"/>'
        + _text(x + width / 2 + 10, y + 17.5, "network")
    )


def _inversion() -> str:
    """The image goes up into the noise, under the chain, and the run starts there."""
    start, end, low = LEFTS[3] + TILE / 2, LEFTS[0] + TILE / 2, TOP + TILE
    return (
        f'<path class="nw-d-mark" d="M{start} {low + 4}C{start - 4} {low + 20} {end + 4} {low + 20} {end} {low + 6}"/>'
        + _head(end, low + 5, -0.35, -0.94, "nw-d-mark")
        + f'<rect class="nw-d-frame" x="{LEFTS[0]}" y="{TOP}" width="{TILE}" height="{TILE}" rx="2"/>'
    )


def _attention() -> str:
    """Three maps inside the network; one of them comes from elsewhere."""
    x, y, width, _ = NETWORK
    cell, parts = 5, []
    for which in range(3):
        left = x + width / 2 + (which - 1) * 40 - 10
        for i in range(16):
            chance = (sin(78.233 * (i + 16 * which) + 2.0) * 43758.5453) % 1
            own = which == 1
            kind = "nw-d-cell nw-d-cell-own" if own else "nw-d-cell"
            shade = 0.25 + 0.75 * chance
            parts.append(
                f'<rect class="{kind}" x="{left + cell * (i % 4)}" y="{y + 3 + cell * (i // 4)}" '
                f'width="{cell}" height="{cell}" opacity="{shade:.2f}"/>'
            )
        if own:
            parts.append(f'<rect class="nw-d-frame" x="{left - 2}" y="{y + 1}" width="24" height="24" rx="2"/>')
    return "".join(parts)


def _blending() -> str:
    """Three answers of the network for one state, and their mixture."""
    middle, low = (LEFTS[1] + TILE + LEFTS[2]) / 2, NETWORK[1] + NETWORK[3] + 4
    ends = f"{middle} {low + 14} {middle} {MIDDLE - 9}"
    fan = "".join(
        f'<path class="nw-d-mark" d="M{middle + by} {low}C{middle + by} {low + 16} {ends}"/>' for by in (-16, 0, 16)
    )
    return (
        fan
        + f'<circle class="nw-d-own" cx="{middle}" cy="{MIDDLE}" r="8"/>'
        + f'<path class="nw-d-onown" d="M{middle - 4} {MIDDLE}h8M{middle} {MIDDLE - 4}v8"/>'
    )


def _revision() -> str:
    """Another way from the start to the image, through other states."""
    top = TOP + 17
    low, parts = top + TILE / 2, []
    first, second, third = (LEFTS[i] + TILE + 3 for i in range(3))
    parts.append(f'<path class="nw-d-mark" d="M{first} {MIDDLE}Q{first + 14} {MIDDLE + 2} {LEFTS[1] - 8} {low - 4}"/>')
    parts.append(_head(LEFTS[1] - 6, low - 2, 0.75, 0.66, "nw-d-mark"))
    parts.append(_arrow(second, low, LEFTS[2] - 4, low, "nw-d-mark"))
    parts.append(
        f'<path class="nw-d-mark" d="M{third} {low - 4}Q{LEFTS[3] - 16} {MIDDLE + 2} {LEFTS[3] - 5} {MIDDLE}"/>'
    )
    parts.append(_head(LEFTS[3] - 4, MIDDLE, 0.99, -0.1, "nw-d-mark"))
    parts += [_tile(LEFTS[i], NOISE[i], top, kind="nw-d-tile nw-d-lit") for i in (1, 2)]
    return "".join(parts)


def _guidance() -> str:
    """At each state an arrow of its own, up the gradient, towards a target."""
    parts = []
    for left in LEFTS[1:3]:
        x, y = left + TILE / 2, TOP + TILE + 3
        parts.append(_arrow(x - 12, y + 13, x + 12, y + 3, "nw-d-mark"))
    x, y = LEFTS[3] + TILE / 2, TOP + TILE + 11
    ring = f'<circle class="nw-d-ring" cx="{x}" cy="{y}" r="5.5"/><circle class="nw-d-own" cx="{x}" cy="{y}" r="2"/>'
    return "".join(parts) + ring


def _correction() -> str:
    """Half of a state overwritten with what is known."""
    left = LEFTS[2]
    half = f'<rect class="nw-d-own nw-d-over" x="{left}" y="{TOP}" width="{TILE / 2}" height="{TILE}" rx="2"/>'
    x, low = left + TILE / 4, TOP + TILE
    known = _text(x - 14, low + 17, "known", "nw-d-word nw-d-hue", "end")
    way = f'<path class="nw-d-mark" d="M{x - 10} {low + 13}H{x}V{low + 5}"/>'
    return half + known + way + _head(x, low + 4, 0, -1, "nw-d-mark")
