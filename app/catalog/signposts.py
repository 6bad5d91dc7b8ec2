"""Words that people search for where no method does it: what is so, and the nearest that there is.

Names of papers are found in the survey's list; these are the words of other tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.catalog import survey


@dataclass(frozen=True)
class Signpost:
    """words: what is searched for. says: one or two plain sentences. methods: the nearest, the aptest first."""

    words: tuple[str, ...]
    says: str
    methods: tuple[str, ...] = ()


SIGNPOSTS = (
    # what cannot be done here
    Signpost(
        ("DreamBooth", "textual inversion", "embedding", "hypernetwork", "train"),
        "No network is taught a thing of yours here, and no embedding is loaded. Nearest: a LoRA file that was trained "
        "elsewhere, or an image of the thing, which lends its colours and layout.",
        ("lora", "ilvr", "masactrl"),
    ),
    Signpost(
        ("face ID", "PhotoMaker", "InstantID"),
        "Nothing here knows a person by the face. Nearest: an IP-Adapter for faces reads an image as a prompt.",
        ("ip_adapter",),
    ),
    Signpost(
        ("OpenPose", "pose", "skeleton", "DWPose"),
        "No pose is found in an image here. Nearest: a ControlNet or a T2I-Adapter for poses, beside the model, reads "
        "a map of one; MasaCtrl moves what a prompt made.",
        ("controlnet", "t2i_adapter", "masactrl"),
    ),
    Signpost(
        ("segmentation", "segmentation map", "semantic map", "normal map", "ControlNet tile"),
        "The ControlNets of Still Life read depth and edges; others have them for more maps, and T2I-Adapters. "
        "Nearest: boxes with words.",
        ("controlnet", "t2i_adapter", "multidiffusion"),
    ),
    Signpost(
        ("Qwen-Image-Edit",),
        "Qwen-Image-Edit, whose text encoder looks at the image as well, is not here. Nearest: checkpoints of FLUX.1 "
        "Kontext, FLUX.2 klein or InstructPix2Pix.",
        ("in_context_images", "instruct_pix2pix"),
    ),
    Signpost(
        ("ESRGAN", "Real-ESRGAN", "SwinIR", "GFPGAN", "CodeFormer", "face restore", "ADetailer"),
        "No network for upscaling or for faces is here. Nearest: the diffusion model itself makes a small image fine, "
        "at its own size.",
        ("ddnm", "ddrm", "sdedit"),
    ),
    Signpost(
        ("hires fix", "highres fix", "tiled VAE"),
        "There is no second pass on a larger canvas. Nearest: windows of the model's size make a larger image, and "
        "SDEdit makes an image anew from any strength.",
        ("panorama", "sdedit"),
    ),
    Signpost(
        ("drag", "DragGAN", "DragDiffusion", "move points"),
        "Nothing is dragged by points here. Nearest: boxes say where things are.",
        ("layout_guidance",),
    ),
    Signpost(
        ("background removal", "remove background", "rembg", "segment anything", "SAM", "cut out"),
        "Nothing is cut out of an image here. Nearest: DiffEdit finds by itself what a word is about, and a mask "
        "can be painted.",
        ("diffedit", "blended_latent"),
    ),
    Signpost(
        ("video", "animation", "AnimateDiff", "Deforum", "gif", "frames"),
        "Single images only. Nearest: the tab Trajectory shows how one forms, step by step.",
    ),
    Signpost(
        ("3D", "mesh", "NeRF", "multi-view"), "Single images only: no views of one thing. Nearest: a depth map.",
        ("controlnet",),
    ),
    Signpost(
        ("interpolation", "morph", "slerp", "prompt travel"),
        "Prompts and seeds do not change over the steps here. Nearest: two prompts hold at once, with weights.",
        ("composable",),
    ),
    Signpost(
        ("LCM", "Turbo", "Lightning", "distilled", "few steps", "fast"),
        "No distilled model is here. Nearest: Schedule type GITS or LD3, or the solver AMED, for few steps.",
    ),
    # what is elsewhere on the page
    Signpost(("sampler", "sampling method", "scheduler", "schedule", "Karras", "Euler", "DPM++", "DDIM", "UniPC"),
             "Samplers are not in this list: Sampling method and Schedule type are below the methods, in Create."),
    Signpost(("seed", "steps", "batch", "size", "resolution", "width", "height"),
             "That is a setting of every run: it is below the methods, in Create."),
    Signpost(("negative prompt", "unwanted"),
             "It has a field of its own under the prompt, and acts where CFG Scale is not 1.", ("composable", "cfg")),
    Signpost(("model", "checkpoint", "VAE", "SDXL", "Stable Diffusion"),
             "Model is below the methods, in Create; NINE_WAYS_BACKBONE adds a checkpoint of yours."),
    Signpost(("XYZ plot", "X/Y/Z plot", "grid", "compare", "side by side"), "That is what the tab Compare is for."),
    Signpost(("PNG info", "metadata", "prompt from image", "restore settings"),
             "Drop a PNG anywhere on the page: its settings come back."),
    Signpost(("DAAM", "attention maps", "heatmap"),
             "“Attention maps” is under an image that was made: where each word looked.", ("attend_and_excite",)),
)  # fmt: skip


def of_papers(titles: Mapping[str, str]) -> tuple[Signpost, ...]:
    """The survey's methods that do not run here under their own name, once each: why, and what covers them.
    titles: of the methods here."""
    found: dict[str, Signpost] = {}
    for one in survey.entries():
        if one.status != "here" and one.short not in titles.values():
            near = titles.get(one.by)
            does = f" {near} takes the same and makes the same." if near and one.status == "covered" else ""
            says = f"{one.short} itself is not here.{does} {one.why}"
            found.setdefault(one.short, Signpost((one.short,), says, (one.by,) if near else ()))
    return tuple(found.values())
