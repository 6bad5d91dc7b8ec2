"""What each tab is for, in one sentence for everybody, and how it works, for whoever wants to know."""

from __future__ import annotations

from typing import NamedTuple


class Introduction(NamedTuple):
    sentence: str
    how: str


INTRODUCTIONS = {
    "create": Introduction(
        "Say what you want to see, press Generate, and watch the image form out of noise.",
        "The network is shown random noise and predicts the clean image (x0) behind it, guided by the prompt. A "
        "sampling method takes a step towards the prediction, and so on until no noise is left. Every method that "
        "you add changes one part of this loop: what the network sees, where the run starts, what it attends to, "
        "how predictions are combined, or the state after each step. The line under the stack is the formula of "
        "everything that is called: ask is the network, what stands around it changes its predictions, and what stands "
        "before “over” makes the steps with them.",
    ),
    "history": Introduction(
        "Every image that was made here, with the settings that made it.",
        "Each PNG carries its settings twice: as the text that A1111 and other programs read, and as the exact "
        "recipe. Restore one, and the same model makes the same image again.",
    ),
    "compare": Introduction(
        "See how different methods do the same task, side by side.",
        "All cells of a comparison share the input, the seed and the network, and differ only in what the axes "
        "vary. Every image is measured against its own condition: whether the objects of the prompt are there, how "
        "far its depth or edges are from the map, how much of the source is kept outside the mask. The cost is "
        "counted in network evaluations (NFE): how often the network is asked, which takes nearly all of the time. "
        "A measure that a method optimised itself is left out for it.",
    ),
    "trajectory": Introduction(
        "Follow an image on its way out of the noise, step by step.",
        "A sampling method solves a differential equation, the probability-flow ODE, from a high noise level down "
        "to none. Recorded at every step are the state and the denoised prediction (x0). Both paths are nearly "
        "straight and lie close to a plane (A Geometric Perspective on Diffusion Models), so they can be drawn: "
        "with their curvature, the guidance norm, and the step from which two runs part.",
    ),
    "taxonomy": Introduction(
        "Nine ways to tell a diffusion model what you want, and what runs here of each.",
        "The survey Conditional Image Synthesis with Diffusion Models sorts methods by where the condition enters. "
        "Three ways build it into the network: training, re-purposing and specialization. Six act while the image "
        "is sampled: inversion, attention manipulation, noise blending, revising the diffusion process, guidance "
        "and conditional correction.",
    ),
}


def introduction(tab: str) -> str:
    """The sentence, and "How it works" to be opened below it."""
    sentence, how = INTRODUCTIONS[tab]
    return (
        f'<div class="nw-intro"><p>{sentence}</p><details><summary>How it works</summary><p>{how}</p></details></div>'
    )
