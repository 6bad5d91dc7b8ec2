"""Which pipelines of diffusers are read, and which networks each has. No torch here: a refusal comes at once."""

from collections.abc import Mapping
from dataclasses import dataclass

CLIP = ("CLIPTextModel",)
CLIP_PROJECTED = ("CLIPTextModelWithProjection",)
T5 = ("T5EncoderModel",)


@dataclass(frozen=True)
class Networks:
    """Pipelines with the same networks, which differ in what they do with them: the first opens all.

    parts: part of a pipeline -> classes of it that are run here, () where it is none with weights. optional: parts that
    a checkpoint may lack.
    """

    pipelines: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    optional: frozenset[str] = frozenset()


def _named(stem: str, *tasks: str) -> tuple[str, ...]:
    return tuple(f"{stem}{task}Pipeline" for task in ("", *tasks))


_EITHER_CLIP = CLIP + CLIP_PROJECTED
_CONTROL = ("Img2Img", "Inpaint", "ControlNet", "ControlNetImg2Img", "ControlNetInpaint")
_OF_UNETS = (*_CONTROL, "Adapter", "PAG", "InstructPix2Pix")
_STABLE_DIFFUSION = {
    "unet": ("UNet2DConditionModel",), "vae": ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC"),
    "text_encoder": _EITHER_CLIP, "tokenizer": (), "scheduler": (),
}  # fmt: skip
STABLE_DIFFUSION = Networks(
    _named("StableDiffusion", *_OF_UNETS) + _named("LatentConsistencyModel", "Img2Img"), _STABLE_DIFFUSION
)
STABLE_DIFFUSION_XL = Networks(
    _named("StableDiffusionXL", *_OF_UNETS),
    {**_STABLE_DIFFUSION, "text_encoder_2": CLIP_PROJECTED, "tokenizer_2": ()},
)
IN_PIXELS = Networks(("DDPMPipeline", "DDIMPipeline"), {"unet": ("UNet2DModel",), "scheduler": ()})


def _transformer(kind: str, vae: str, **texts: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Parts of a pipeline around a transformer; texts: its text encoders, each with a tokenizer of its number."""
    tokenizers: dict[str, tuple[str, ...]] = {one.replace("text_encoder", "tokenizer"): () for one in texts}
    return {"transformer": (kind,), "vae": (vae,), "scheduler": (), **texts, **tokenizers}


FLUX = Networks(
    _named("Flux", *_CONTROL),
    _transformer("FluxTransformer2DModel", "AutoencoderKL", text_encoder=CLIP, text_encoder_2=T5),
)
FLUX_KONTEXT = Networks(("FluxKontextPipeline", "FluxKontextInpaintPipeline"), FLUX.parts)
FLUX_FILL = Networks(("FluxFillPipeline",), FLUX.parts)
FLUX_2_KLEIN = Networks(
    _named("Flux2Klein", "Inpaint"),
    _transformer("Flux2Transformer2DModel", "AutoencoderKLFlux2", text_encoder=("Qwen3ForCausalLM",)),
)
QWEN_IMAGE = Networks(
    _named("QwenImage", "Img2Img", "Inpaint", "ControlNet", "ControlNetInpaint"),
    _transformer("QwenImageTransformer2DModel", "AutoencoderKLQwenImage",
                 text_encoder=("Qwen2_5_VLForConditionalGeneration",)),
)  # fmt: skip
Z_IMAGE = Networks(
    _named("ZImage", "Img2Img", "Inpaint", "ControlNet", "ControlNetInpaint"),
    _transformer("ZImageTransformer2DModel", "AutoencoderKL", text_encoder=("Qwen3Model", "Qwen3ForCausalLM")),
)
KREA_2 = Networks(
    _named("Krea2"),
    _transformer("Krea2Transformer2DModel", "AutoencoderKLQwenImage", text_encoder=("Qwen3VLModel",)),
)
STABLE_DIFFUSION_3 = Networks(
    _named("StableDiffusion3", "Img2Img", "Inpaint", "ControlNet", "ControlNetInpainting", "PAG", "PAGImg2Img"),
    _transformer("SD3Transformer2DModel", "AutoencoderKL", text_encoder=CLIP_PROJECTED, text_encoder_2=CLIP_PROJECTED,
                 text_encoder_3=T5),
    optional=frozenset({"text_encoder_3", "tokenizer_3"}),
)  # fmt: skip
SANA = Networks(
    _named("Sana", "PAG", "ControlNet"),
    _transformer("SanaTransformer2DModel", "AutoencoderDC", text_encoder=("Gemma2Model", "Gemma2ForCausalLM")),
)
PIXART = Networks(
    (*_named("PixArtSigma"), "PixArtSigmaPAGPipeline"),
    _transformer("PixArtTransformer2DModel", "AutoencoderKL", text_encoder=T5),
)
PIXART_ALPHA = Networks(("PixArtAlphaPipeline",), PIXART.parts)

ALL = (
    STABLE_DIFFUSION, STABLE_DIFFUSION_XL, QWEN_IMAGE, Z_IMAGE, FLUX_2_KLEIN, FLUX, FLUX_KONTEXT, FLUX_FILL,
    KREA_2, STABLE_DIFFUSION_3, SANA, PIXART, PIXART_ALPHA, IN_PIXELS,
)  # fmt: skip
BY_PIPELINE: dict[str, Networks] = {name: one for one in ALL for name in one.pipelines}


def denoiser(pipeline: str) -> str:
    """The part that denoises, of a pipeline of `BY_PIPELINE`."""
    return next(iter(BY_PIPELINE[pipeline].parts))
