"""Traits: what a method does to a run, in a small closed set of words. `clashes.py` reads every clash off them.

    @method(..., traits=("finds_start", "retraces_path"), ...)

No method names another one: whoever writes the next method says what it does, and what it cannot be stacked with is
known. A trait that holds only at one option of a knob is written {"replaces_steps": ("weights", "adaptive")}.
"""

from __future__ import annotations

from typing import NamedTuple

TRAITS = {
    "replaces_steps": "makes the steps itself, so that the sampler of the run is not called",
    "finds_start": "finds the state that the run starts from, and how many steps are left",
    "encodes_start": "starts the run from an encoded image, so that the noise of the seed is not used for the start",
    "whole_run": "makes the start and all steps itself, so that nothing can act around the sampler",
    "retraces_path": "encodes an image along the path of an ODE, which the run has to go back",
    "extracts_noise": "keeps, for every level, the noise that leads the sampler along the source",
    "runs_source": "denoises a source image beside the target, through the same sampler",
    "follows_observation": "draws the image to an observation y = A(x) + noise",
    "reads_whole_map": "reads a map that belongs to the whole image",
    "cuts_windows": "denoises windows of the image, each by itself",
    "prompt_names_boxes": "looks for the words of its boxes in the prompt of the run",
    "prompt_names_words": "looks for the words that it is given in the prompt of the run",
    "prompt_omits_boxes": "paints its boxes by prompts of their own, which the prompt of the run should not repeat",
}
SOLVER_TRAITS = ("adds_noise", "renoises")  # of a sampler: draws noise on the way; goes up again between two levels


class Rule(NamedTuple):
    """Two traits (or kinds of methods) that do not go together, and why; {a} and {b} are the titles of the two."""

    a: str
    b: str
    why: str


RULES = (
    Rule("replaces_steps", "replaces_steps", "each of them makes the steps of the run, so that only one would act"),
    Rule("finds_start", "finds_start", "each of them finds the start of the run by itself"),
    Rule("whole_run", "sampler", "{a} makes the start and all steps of the run itself, and {b} would not act there"),
    Rule("runs_source", "runs_source", "each of them runs a source of its own"),
    Rule("runs_source", "follows_observation", "{b} would draw the source of {a} to its observation, too"),
    Rule("reads_whole_map", "cuts_windows", "the map of {a} belongs to the whole image, and {b} cuts it into windows"),
    Rule(
        "prompt_names_boxes",
        "prompt_omits_boxes",
        "the prompt has to name what is in the boxes of {a}, and should not name what is in those of {b}",
    ),
    Rule("retraces_path", "adds_noise", "fresh noise at every step erases the image that {a} has encoded"),
    Rule(
        "extracts_noise", "renoises", "{b} adds noise between the levels, where {a} has no noise of the source to keep"
    ),
)
