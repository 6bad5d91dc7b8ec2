"""Backbones of diffusers' UNet family: SD1.x, SD2, SDXL and Still Life, whatever they predict."""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from backbones import checkpoint, controlnets, guiding_networks, text_length, unet_config, word_weights
from backbones.attention_sites import editing
from backbones.autoencoder import Autoencoder
from backbones.checkpoint import CheckpointError
from backbones.coordinates import coordinates, coordinates_in
from backbones.engines import (
    SMALL,
    DecoderGraph,
    EngineChoice,
    NetworkEngine,
    OpenVINOEngine,
    TorchEngine,
    choose,
    plan,
)
from common.weighted_text import WeightedText, plain, weighted
from samplers.protocol import Ask

FITS = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
READS = {"text", "tokens", "pooled", "time_ids"}  # keys of cond
LEARNED_ALL = 10_000  # tokens: a larger vocabulary has no unknown words, and is CLIP's
REMEMBERED = 512  # prompts whose encoding is kept


def size_multiple(factor: int, stages: int, parameters: int) -> int:
    """Of width and height in pixels: one latent, as in diffusers, whose UNets take odd sides at every stage. Small
    networks are traced for OpenVINO, where each of the `stages` but the first has half the side of the one before.

    factor: pixels to a latent.
    """
    return factor * 2 ** (stages - 1) if parameters <= SMALL else factor


Extension = Callable[[Any, tuple[str, ...]], Any]  # (network, keys of cond) -> the network that reads them as well


class UNetBackbone:
    """A checkpoint of the UNet family as a `backbones.base.Backbone`; not for several threads at once.

    `cond` has "text" (B, L, D), and for the SDXL kind "pooled" (B, P) and, if one wants others than those of the whole
    image, "time_ids" (B, 6): original height and width, top and left of the crop, target height and width. Its
    "tokens" (B, L) tell methods which words the text is of (see `words`); the network does not need them.
    """

    offers = frozenset({"gradients", "attention", "unet"})
    weighs_words = True

    def __init__(self, pipe: Any, plan: EngineChoice, id: str, revision: str):
        """pipe: a StableDiffusionPipeline or StableDiffusionXLPipeline, in the plan's dtype, frozen, in eval mode.

        Raises CheckpointError where the UNet wants more than latents and text.
        """
        self.id, self.revision, self.device = id, revision, plan.device
        self.pipe = pipe.to(plan.device)
        self.unet, config = pipe.unet, pipe.unet.config
        self.xl = config.addition_embed_type == "text_time"
        if pipe.vae.dtype != torch.float32 and pipe.vae.config.get("force_upcast", True):
            pipe.vae.to(torch.float32)
        unet_config.check_unet(id, config, int(pipe.vae.config.latent_channels))
        try:
            self.coordinates = coordinates(type(pipe.scheduler).__name__, pipe.scheduler.config)
        except ValueError as error:
            raise CheckpointError(f"{id}: {error}") from error
        self.sigmas = self.coordinates.sigmas  # (T,) ascending
        self.plan = plan
        self.engine, self.torch = self._engines_of(self.unet, revision)
        self.controlnets: dict[str, str] = {}  # condition -> folder or Hub id of what fits
        self._extensions: dict[str, Extension] = {}  # by the beginning of their keys
        self._extended: dict[tuple[str, ...], tuple[NetworkEngine, TorchEngine]] = {}  # by the keys they read
        self.images = Autoencoder(pipe.vae)
        if isinstance(self.engine, OpenVINOEngine):
            self.images.decoder = OpenVINOEngine(DecoderGraph(pipe.vae), revision, self.engine.precision).run
        size = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]
        self.default_size = size * self.images.factor
        parameters = sum(values.numel() for values in self.unet.parameters())
        self.size_multiple = size_multiple(self.images.factor, len(config.block_out_channels), parameters)
        self.quick = parameters <= SMALL or plan.device.type != "cpu"
        self.tokens = int(pipe.text_encoder.config.max_position_embeddings)
        for place in ("", "_2") if self.xl else ("",):
            self._fit_tokenizer(getattr(pipe, f"tokenizer{place}"), getattr(pipe, f"text_encoder{place}").config)
        self.folder = Path()  # of the checkpoint, where it was loaded from one
        self._texts: dict[str, dict[str, Tensor]] = {}

    @classmethod
    def load(cls, id: str, name: str | None = None) -> "UNetBackbone":
        """From a folder or a Hub id, with the device and engine of `backbones.engines.plan`; name: in place of the id.

        A small network is warm when this returns. Raises CheckpointError, an OSError, with what is wrong in words.
        """
        folder = checkpoint.locate(id, FITS)
        unet_config.check(folder)
        coordinates_in(folder, name or id)
        settings = plan(checkpoint.parameters(folder))
        pipe = checkpoint.open_pipeline(folder, settings.dtype)
        self = cls(pipe, settings, name or id, checkpoint.revision(folder))
        self.controlnets = controlnets.beside(folder, self.unet.config)
        if self.controlnets:
            self.offers |= {"controlnet"}
        self.folder = folder
        self.offers |= {name for name in guiding_networks.NETWORKS if guiding_networks.has(folder, name)}
        if checkpoint.parameters(folder) <= SMALL:
            self.warm_up()
        return self

    @cached_property
    def perception_model(self) -> guiding_networks.PerceptionModel:
        """What reads its images. Raises FileNotFoundError where there is none: see `offers`."""
        return guiding_networks.load(self.folder, "perception_model", self.device)

    @cached_property
    def classifier(self) -> guiding_networks.Classifier:
        """What reads its noisy latents. Raises FileNotFoundError where there is none: see `offers`."""
        return guiding_networks.load(self.folder, "classifier", self.device)

    @cached_property
    def contrastive(self) -> guiding_networks.Contrastive:
        """What reads its images beside a text. Raises FileNotFoundError where there is none: see `offers`."""
        return guiding_networks.load(self.folder, "contrastive", self.device)

    def _fit_tokenizer(self, tokenizer: Any, encoder: Any) -> None:
        """Texts are cut to the places of their encoder, also where the tokenizer's files do not say how many it has."""
        tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.max_position_embeddings)
        if len(tokenizer) > encoder.vocab_size:
            raise CheckpointError(f"{self.id}: its tokenizer has {len(tokenizer):,} tokens and its text encoder "
                                  f"{encoder.vocab_size:,}: they are of different checkpoints")  # fmt: skip

    def warm_up(self) -> None:
        """Compiles and allocates what the first image of the default size needs: one call of each part."""
        x = torch.zeros(1, *self.latent_shape(self.default_size, self.default_size))
        x0 = self.denoise(Ask(x, torch.ones(1), self.encode_prompt([""])))
        self.decode(x0)
        self.preview(x0)

    def extend(self, prefix: str, extension: Extension) -> None:
        """From now on an ask may have keys of cond that begin with `prefix`, (B, ...) each.

        Such an ask is answered by extension(network, its keys) in place of the network. What that returns is called as
        a UNet is and finds those tensors in `added_cond_kwargs`, which must not reach the UNet; it has the UNet's
        `config`, the examples that `engines.UNetGraph` wants in `more`, and in `key` a hash of what it adds. Asks
        without such keys go the same way as before, bit for bit. The same prefix again changes nothing.
        """
        self._extensions.setdefault(prefix, extension)

    def controlnet(self, condition: str) -> tuple[Any, str]:
        """The ControlNet for a condition of `controlnets`, and a hash of it. Raises ValueError where there is none."""
        if condition not in self.controlnets:
            raise ValueError(f"{self.id} has no ControlNet for {condition}: it has "
                             f"{', '.join(self.controlnets) or 'none'}")  # fmt: skip
        return controlnets.load(self.controlnets[condition], self.unet, self.device, self.plan.dtype)

    def _engines_of(self, network: Any, key: str) -> tuple[NetworkEngine, TorchEngine]:
        engine = choose(network, self.plan, key)
        return engine, engine if isinstance(engine, TorchEngine) else TorchEngine(network, self.plan.rows)

    def _reading(self, keys: tuple[str, ...]) -> tuple[NetworkEngine, TorchEngine]:
        """The engines of plain asks and of others, of the network that reads these keys beside its own."""
        if not keys:
            return self.engine, self.torch
        if keys not in self._extended:
            network: Any = self.unet
            for prefix, extension in self._extensions.items():
                if mine := tuple(key for key in keys if key.startswith(prefix)):
                    network = extension(network, mine)
            self._extended[keys] = self._engines_of(network, f"{self.revision}-{network.key}")
        return self._extended[keys]

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Pixels -> (C, h, w). Raises ValueError for a size that is no multiple of size_multiple."""
        if width <= 0 or height <= 0 or width % self.size_multiple or height % self.size_multiple:
            raise ValueError(f"{width} x {height} pixels: width and height are multiples of {self.size_multiple} "
                             f"with {self.id}")  # fmt: skip
        return self.images.channels, height // self.images.factor, width // self.images.factor

    def encode_prompt(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """B texts -> {"text": (B, L, D), "tokens": (B, L)} and for the SDXL kind "pooled"; by the pipeline's own code.

        Each text is encoded on its own, once. "" is all zeros where the checkpoint says so (SDXL's empty prompt).
        Weights of words (`common.weighted_text`) act on "text" alone: tokens and "pooled" are those of the words.
        """
        if isinstance(texts, str) or not len(texts):
            raise ValueError("encode_prompt takes a list of at least one text")
        rows = []
        for text in texts:
            if text not in self._texts:
                if len(self._texts) >= REMEMBERED:
                    self._texts.pop(next(iter(self._texts)))
                self._texts[text] = self._encode(text)
            rows.append(self._texts[text])
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}

    @torch.no_grad()
    def _encode(self, prompt: str) -> dict[str, Tensor]:
        text = plain(prompt)
        out = self.pipe.encode_prompt(text, device=self.device, num_images_per_prompt=1,
                                      do_classifier_free_guidance=False)  # fmt: skip
        cond = {"text": out[0].float()}
        if self.xl:
            cond["pooled"] = out[2].float()
        if not text and self.xl and self.pipe.config.force_zeros_for_empty_prompt:
            cond = {key: torch.zeros_like(value) for key, value in cond.items()}
        tokenizer = self.pipe.tokenizer
        cond["tokens"] = tokenizer(self.pipe.maybe_convert_prompt(text, tokenizer), padding="max_length",
                                   max_length=cond["text"].shape[1], truncation=True,
                                   return_tensors="pt").input_ids.to(self.device)  # fmt: skip
        if weighted(prompt).weighs:
            cond["text"] = self._weighed(weighted(prompt), cond["text"], cond["tokens"])
        return cond

    def _weighed(self, text: WeightedText, features: Tensor, tokens: Tensor) -> Tensor:
        """The features (1, L, D) of its words by their weights: see `word_weights`."""
        weights = word_weights.token_weights(self._whole_tokenizer, text, features.shape[1])
        encoder = self.pipe.text_encoder
        if self.xl or len(self.pipe.tokenizer) >= LEARNED_ALL:
            encoders = [encoder, self.pipe.text_encoder_2] if self.xl else [encoder]
            return word_weights.multiplied(features, weights, [int(one.config.hidden_size) for one in encoders])
        return word_weights.extrapolated(
            features, weights.to(self.device), lambda mask: encoder(tokens, attention_mask=mask).last_hidden_state
        )

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        """The words of one text, in order, each with the places of its tokens; tokens (L,) as in a cond."""
        tokenizer = self.pipe.tokenizer
        words: list[tuple[str, list[int]]] = []
        inside = False
        for place, piece in enumerate(tokenizer.convert_ids_to_tokens(tokens.tolist())):
            if piece in (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token):
                continue
            if not inside:
                words.append(("", []))
            word, places = words[-1]
            words[-1] = word + piece.removesuffix("</w>"), [*places, place]
            inside = not piece.endswith("</w>")
        return words

    def denoise(self, ask: Ask) -> Tensor:
        """The x0 of every row (B, C, H, W) float32. It has gradients only if ask.tape is not None.

        An edit is in the network for this call only. Raises ValueError for a cond that this network does not read or
        that lacks what it wants.
        """
        x, sigma = ask.x.to(self.device, torch.float32), ask.sigma.to(self.device, torch.float32)
        text, added = self._inputs(ask)
        engine, in_torch = self._reading(tuple(sorted(key for key in added if key in ask.cond and key not in READS)))
        with torch.set_grad_enabled(ask.tape is not None):
            model_input, t = self.coordinates.enter(x, sigma)
            if ask.edit is not None:
                with editing(self.unet, ask.edit, (x.shape[-2], x.shape[-1])):
                    out = in_torch(model_input, t, text, added, rows=0)
            elif ask.tape is not None:
                out = in_torch(model_input, t, text, added, rows=min(in_torch.rows, 1))
            else:
                out = engine(model_input, t, text, added)
            return self.coordinates.leave(x, sigma, out)

    def _inputs(self, ask: Ask) -> tuple[Tensor, dict[str, Tensor]]:
        more = {key: value.to(self.device) for key, value in ask.cond.items() if key.startswith((*self._extensions,))}
        cond = {key: value for key, value in ask.cond.items() if key not in more}
        unread = set(cond) - READS if self.xl else set(cond) - READS | set(cond) & {"pooled", "time_ids"}
        wanted = {"text", "pooled"} if self.xl else {"text"}
        if "weights" in unread:
            raise ValueError(f"{self.id} has no weights of words beside the text: write them into the prompt, such as "
                             "(cube:1.3), or weigh words by prompt_to_prompt")  # fmt: skip
        if unread or wanted - set(cond):
            raise ValueError(f"{self.id} reads {', '.join(sorted(wanted))} of cond, and got "
                             f"{', '.join(sorted(cond)) or 'nothing'}")  # fmt: skip
        text = cond["text"].to(self.device)
        if text.shape[-1] != self.unet.config.cross_attention_dim:
            raise ValueError(f"the text has {text.shape[-1]} features and {self.id} wants "
                             f"{self.unet.config.cross_attention_dim}: encode it with this backbone")  # fmt: skip
        if not self.xl:
            return text, more
        ids = cond.get("time_ids")
        if ids is None:
            h, w = (n * self.images.factor for n in ask.x.shape[-2:])
            ids = torch.tensor([[h, w, 0, 0, h, w]], dtype=torch.float32).expand(len(ask.x), 6)
        return text, {"text_embeds": cond["pooled"].to(self.device), "time_ids": ids.to(self.device), **more}

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> latents (B, C, h, w) of unit scale."""
        return self.images.encode(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> images (B, 3, H, W) in [0, 1]; gradients run through it."""
        return self.images.decode(latents)

    def preview(self, x0: Tensor) -> Tensor:
        """The cheap decode: (B, C, h, w) -> (B, 3, H, W) in [0, 1]."""
        return self.images.preview(x0)

    @cached_property
    def _whole_tokenizer(self) -> Tokenizer:
        return text_length.whole(self.pipe.tokenizer)

    @cached_property
    def _words(self) -> set[str] | None:
        vocabulary = self.pipe.tokenizer.get_vocab()
        if len(vocabulary) >= LEARNED_ALL:
            return None
        return {token.removesuffix("</w>") for token in vocabulary if token.endswith("</w>")}

    def unread(self, text: str) -> str:
        """The end of a text that its text encoder has no place for, from the begin of a word; "" where it reads all."""
        return text_length.unread(self._whole_tokenizer, plain(text), self.tokens)

    def unknown_words(self, text: str) -> list[str]:
        """Words of the text, in order and once each, that are no whole token of a small vocabulary; [] for a large."""
        if self._words is None:
            return []
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", plain(text).lower()))
        return [word for word in words if word not in self._words]
