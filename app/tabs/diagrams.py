"""What each family changes in the process, drawn: noise, a few steps, an image, the network that is asked above them.

The drawings are `assets/diagrams/<family>.svg`, to be opened and changed in any program that draws. What stays is grey,
what the family changes has its hue. 264 x 120 in CSS pixels at their true size, so words in them have the page's own
small size on every screen.
"""

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "assets" / "diagrams"
OWN_STYLE = re.compile(r"\s*<style>.*?</style>", re.DOTALL)

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


@cache
def diagram(family: str) -> str:
    """The family's diagram as inline SVG; the sentence beside it says the same in words.

    A file's own style is for programs that draw. On the page assets/taxonomy.css has the colours of both schemes.
    """
    svg = OWN_STYLE.sub("", (FOLDER / f"{family}.svg").read_text(encoding="utf-8"))
    return svg.replace("<svg ", f'<svg style="--family:var(--nw-{family})" ', 1)
