"""What a single .safetensors file is, by its header and the names, dtypes and shapes of its tensors; never by its name.

Stable Diffusion 1, 2 and XL in their original layout are opened (`single_file`); everything else is said what it is.
"""

import re
from pathlib import Path
from typing import Literal

from backbones.checkpoint_files import UNET, CheckpointError, Header
from backbones.original_layout import first_of, within

Family = Literal["1", "2", "xl"]
PREDICTIONS = ("epsilon", "v_prediction", "v_prediction_ztsnr")  # the last with zero terminal SNR
MARKERS = {"v_pred", "ztsnr"}  # names of tensors in merges of SDXL

SCALES = re.compile(r".*\.(scale_weight|weight_scale(_inv|_2)?|scale_input|input_scale|comfy_quant)$|scaled_fp8$")
QUANTISED = re.compile(r".*\.(absmax|quant_map|nested_absmax|SCB|qweight|qzeros)$|.*\.quant_state\..*")

#: What other files are: (a name of a tensor in them, without what may stand before it; what that is).
OTHERS = (
    (r"lora_(unet|te\d?|transformer)_|.*\.(lora_[AB]|lora_(up|down))\.|.*\.(hada_w1_a|lokr_w1|lokr_w1_a|oft_blocks)$",
     "a LoRA or LyCORIS, which goes with a checkpoint: put it into the folder loras"),
    (r"(string_to_param|emb_params|clip_[lg]$)", "a textual inversion, which goes with a checkpoint"),
    (r"(image_proj|ip_adapter)\.",
     "an IP-Adapter, which goes with a checkpoint: put it into <checkpoint>_ip_adapters/"),
    (r"(control_model\.|controlnet_cond_embedding\.|input_hint_block\.)",
     "a ControlNet, which goes with a checkpoint: put it in diffusers' layout into <checkpoint>_controlnets/"),
    (r"(double_stream_modulation_img|single_stream_modulation)\.", "FLUX.2"),
    (r"distilled_guidance_layer\.", "Chroma"),
    (r"double_blocks\.\d+\.img_attn\.", "FLUX.1"),
    (r"(joint_blocks\.\d+\.)", "Stable Diffusion 3"),
    (r"double_layers\.\d+\.attn\.w2q", "AuraFlow"),
    (r"txtfusion\.", "Krea 2"),
    (r"(img_in\.weight|transformer_blocks\.\d+\.img_mod\.)", "Qwen-Image"),
    (r"cap_embedder\.", "Lumina 2 or Z-Image"),
    (r"(y_embedder\.y_embedding|adaln_single\.)", "PixArt"),
    (r"blocks\.\d+\.cross_attn\.q_linear", "Sana or PixArt"),
    (r"double_stream_blocks\.", "HiDream"),
    (r"(patchify_proj|txt_in\.individual_token_refiner|head\.modulation|blocks\.block\d+\.)", "a video model"),
    (r"(clip_txt_mapper|down_blocks\.\d+\.\d+\.channelwise)", "Stable Cascade"),
    (r"input_blocks\.0\.0\.weight",
     "a UNet of Stable Diffusion alone whose tensors are named otherwise: the names begin with model.diffusion_model."),
    (r"(down_blocks|up_blocks|mid_block|transformer_blocks)\.",
     "one network in diffusers' layout: give the folder of its whole checkpoint"),
    (r"(encoder|decoder)\.(conv_in|mid\.)", "an autoencoder alone"),
    (r"(text_model\.|transformer\.resblocks\.|encoder\.block\.0\.layer|model\.layers\.0\.)", "a text encoder alone"),
)  # fmt: skip
BEFORE = r"(?:model\.diffusion_model\.|diffusion_model\.|transformer\.|model\.|net\.|first_stage_model\.|vae\.)?"
FITS = "what fits here: Stable Diffusion 1.x, 2.x and XL in their original layout, or a folder in diffusers' layout"


def family(file: Path, header: Header) -> Family:
    """Raises CheckpointError, in words that say what it is, for what is none of them or is not run here."""
    check_scales(file, header)
    shapes = header.shapes
    unet = within(shapes, UNET)
    if "input_blocks.0.0.weight" not in unet or "out.2.weight" not in unet:
        raise CheckpointError(f"{file} {_what(header)}; {FITS}")
    if wrong := _not_run(header, unet):
        raise CheckpointError(f"{file} {wrong}; {FITS}")
    if "label_emb.0.0.weight" in unet:
        return "xl"
    linear = any(name.endswith(".proj_in.weight") and len(shape) == 2 for name, shape in unet.items())
    return "2" if linear else "1"


def check_scales(file: Path, header: Header) -> None:
    """Raises CheckpointError where weights are to be multiplied by scales before they are used: read without, every
    image is plain white, and nothing else says so. Scales without any number in them are none."""
    scales = [name for name, shape in header.shapes.items() if SCALES.match(name) and 0 not in shape]
    if scales or "_quantization_metadata" in header.said:
        which = scales[0] if scales else "_quantization_metadata in its header"
        raise CheckpointError(f"{file} has 8-bit weights with scales ({which}), which are not read here: get the file "
                              "in fp16, bf16 or fp32, or 8-bit without scales")  # fmt: skip
    packed = [name for name, dtype in header.dtypes.items() if QUANTISED.match(name) or (
        name.endswith(".weight") and dtype in ("I8", "U8") and len(header.shapes[name]) > 1)]  # fmt: skip
    if packed:
        raise CheckpointError(f"{file} has weights of 8 or 4 bits ({packed[0]}), as bitsandbytes or GPTQ make them, "
                              "which are not read here: get the file in fp16, bf16 or fp32")  # fmt: skip


def _what(header: Header) -> str:
    """Of a file that is no checkpoint of Stable Diffusion: "is ..."."""
    names = list(header.shapes)
    for pattern, what in OTHERS:
        seen = re.compile(BEFORE + pattern)
        if any(seen.match(name) for name in names):
            return f"is {what}"
    said = header.said.get("modelspec.architecture")
    return f"is {said}" if said else f"is no checkpoint that is known here (it begins with {min(names)})"


def _not_run(header: Header, unet: dict[str, tuple[int, ...]]) -> str:
    """Why its UNet is not run; "" where it is."""
    names, inputs = header.shapes, unet["input_blocks.0.0.weight"][1]
    context = next((shape[1] for name, shape in unet.items() if name.endswith("attn2.to_k.weight")), 0)
    reads_open_clip = bool(first_of(("cond_stage_model.model.",), names))
    if "conditioner.embedders.0.model.text_projection" in names or ("label_emb.0.0.weight" in unet and context == 1280):
        return "is SDXL's refiner, which goes on with the image of another checkpoint and does not run here alone"
    if first_of(("control_model.",), names):
        return "is Stable Diffusion with a ControlNet in one file: get both apart"
    if "edm_mean" in names or first_of(("edm_vpred.",), names):
        return "was trained in EDM's coordinates (Playground 2.5, CosXL), which are not run here"
    if "label_emb.weight" in unet or inputs == 7:
        return "is the upscaler of Stable Diffusion"
    if "label_emb.0.0.weight" in unet and (reads_open_clip or context == 1024):
        return "is Stable unCLIP, whose UNet reads an image, too"
    return ""


def prediction(family: Family, header: Header, chosen: str) -> tuple[str, bool]:
    """What its network predicts, of PREDICTIONS, and whether that is only assumed. chosen: by a person, or ""."""
    if chosen:
        return chosen, False
    names = set(header.shapes)
    if MARKERS & names:
        return ("v_prediction_ztsnr" if "ztsnr" in names else "v_prediction"), False
    said = header.said.get("modelspec.prediction_type", "").lower()
    if said in ("v", "v_prediction", "v-prediction"):
        return "v_prediction", False
    if said in ("epsilon", "eps"):
        return "epsilon", False
    wide = header.shapes[f"{UNET}input_blocks.0.0.weight"][1] == 4  # not of those for inpainting, or with depth
    assumed = "v_prediction" if family == "2" and wide and resolution(family, header) == 768 else "epsilon"
    return assumed, family != "xl"


def resolution(family: Family, header: Header) -> int:
    """Pixels of a side that it was trained at, where its header says so; else the usual."""
    if said := re.fullmatch(r"(\d+)x(\d+)", header.said.get("modelspec.resolution", "")):
        return max(int(said[1]), int(said[2]))
    inpaints = header.shapes[f"{UNET}input_blocks.0.0.weight"][1] != 4
    return {"1": 512, "2": 512 if inpaints else 768, "xl": 1024}[family]
