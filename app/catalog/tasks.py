"""What one can do here, in a user's words: eleven tasks, each with an example that begins with one click.

One or two a family of the survey, in its order. The one whose example is wide takes two places, so that twelve are
filled: whole rows of two and of three.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.catalog.prompts import EXAMPLES


@dataclass(frozen=True)
class Task:
    """methods: those that do it, the aptest first; the first is the example, unless there is a prompt: then that is.
    given: what the example is given, in words; "" where it is an image (app/assets/given)."""

    key: str
    title: str
    summary: str
    family: str
    methods: tuple[str, ...]
    given: str = ""
    prompt: str = ""

    @property
    def example(self) -> str:
        """The name of its result among app/assets/examples."""
        return "still-life" if self.prompt else self.methods[0]


TASKS = (
    Task(
        "words", "Say it in words", "An image from a prompt alone", "training",
        ("attend_and_excite", "perturbed_attention", "classifier_guidance", "cfg"), EXAMPLES[0], EXAMPLES[0],
    ),
    Task("map", "Follow a depth map", "It says what is near and what is far", "repurposing",
         ("controlnet", "t2i_adapter", "energy_guidance")),
    Task("file", "Use a LoRA file", "What a fine-tuning left, in any prompt", "specialization", ("lora",),
         "a file called “night”"),
    Task("invert", "Invert and edit", "An image of yours, in other words", "inversion",
         ("edit_friendly_ddpm", "sdedit", "direct_inversion", "null_text", "ddim_inversion", "edict", "diffedit")),
    Task("edit", "Edit by words", "One word changes, the rest stays", "attention",
         ("prompt_to_prompt", "masactrl", "plug_and_play", "semantic_guidance", "instruct_pix2pix",
          "in_context_images")),
    Task("combine", "Combine prompts", "Two prompts hold at once", "blending",
         ("composable", "multidiffusion", "semantic_guidance"), "one prompt AND another"),
    Task("wide", "Wide panorama", "Wider than the network draws, without a seam", "blending",
         ("panorama", "multidiffusion"), "three times as wide"),
    Task("restore", "Restore", "From too few pixels, blur or grey", "revision",
         ("ddnm", "ddrm", "pigdm", "dps", "snips")),
    Task("boxes", "Place by boxes", "Each thing where its box is", "guidance", ("layout_guidance", "multidiffusion")),
    Task("colours", "Steer by colours", "An image lends its light and its hues", "guidance",
         ("energy_guidance", "ilvr", "ip_adapter")),
    Task("mask", "Paint into a mask", "A hole is filled as the prompt says", "correction",
         ("blended_latent", "repaint", "replacement", "diffedit", "sdedit", "inpainting_network")),
)  # fmt: skip
