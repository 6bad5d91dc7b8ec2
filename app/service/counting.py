"""How many network evaluations a run will make, counted before it: its flow is driven with answers that cost nothing.

Where the number depends on what the network answers (a method that stops once an image is good enough), there is none
to be had without the network, and none is given. So it is counted with answers of two kinds, and both have to agree.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from app.engine.planner import Encoder, plan
from app.engine.unused_settings import settings_used
from app.schema.recipe import SAMPLERS, SCHEDULES, TUNED, Recipe, RecipeError
from backbones import text_length
from backbones.outline import Outline
from common.weighted_text import plain
from samplers.driver import run
from samplers.protocol import Ask

PATIENCE = 2.0  # seconds of computing; large images with many steps are not counted
Answer = Callable[[Ask], Tensor]


@dataclass(frozen=True)
class Count:
    """Network evaluations and the rows in them, None where they are not known before the run: `reason` then says
    why."""

    nfe: int | None = None
    rows: int | None = None
    reason: str = ""


class Uncountable(RuntimeError):
    """Why there is no count, in words."""


def evaluations(recipe: Recipe, backbone: Any, images: Mapping[str, Any]) -> Count:
    """Of the whole run, as `Finished` says it afterwards; or why there is no count.

    recipe: one without problems. backbone: its outline; or the oracle, which has no weights and answers itself.
    """
    recipe = settings_used(recipe, backbone)
    for name, label, searched in (
        (recipe.schedule, SCHEDULES.get(recipe.schedule), recipe.schedule in TUNED),
        (recipe.sampler, SAMPLERS.get(recipe.sampler), recipe.sampler == "amed"),
    ):
        if searched:
            return Count(reason=f"{label or name} is tuned on the network first: the number is known after that.")
    try:
        if isinstance(backbone, Outline):
            stand_in = StandIn(backbone)
            counts = {_counted(recipe, stand_in, images, answer) for answer in (_zeros, noise_answers())}
        else:
            counts = {_counted(recipe, backbone, images, backbone.denoise)}
    except Uncountable as why:
        return Count(reason=str(why))
    except RecipeError as error:
        return Count(reason=f"The run would be refused: {error}")
    except Exception as error:  # of a method that needs more than a stand-in gives
        return Count(reason=f"Counting it needs the network's weights ({type(error).__name__}: {error}).")
    if len(counts) > 1:
        return Count(reason="It depends on the image: a method stops once it is good enough.")
    nfe, rows = counts.pop()
    return Count(recipe.count * nfe, recipe.count * rows)


def _counted(recipe: Recipe, backbone: Any, images: Mapping[str, Any], answer: Answer) -> tuple[int, int]:
    """Evaluations and rows of one image. Raises Uncountable, and whatever the methods raise."""
    until = time.thread_time() + PATIENCE

    def answered(ask: Ask) -> Tensor:
        if time.thread_time() > until:
            raise Uncountable(f"Counting takes more than {PATIENCE:g} s of computing at this size and so many steps.")
        return answer(ask)

    made = plan(recipe.one(0), backbone, Encoder(backbone), images)
    run(made.flow, answered)
    return made.tally.nfe, made.tally.rows


# ---- in place of the network ----------------------------------------------------------------------------------------


def _zeros(ask: Ask) -> Tensor:
    """x0 = 0 for every row, as a function of x and the text, so that gradients run through it."""
    return 0 * _guarded(ask)


def noise_answers() -> Answer:
    """Answers that never settle: each has noise of its own."""
    stream = torch.Generator().manual_seed(0)

    def answer(ask: Ask) -> Tensor:
        scale = (1 + ask.sigma.reshape(-1, 1, 1, 1)).to(ask.x)
        noise = torch.randn(ask.x.shape, generator=stream).to(ask.x)
        return noise + 0.1 * _guarded(ask) / scale

    return answer


def _guarded(ask: Ask) -> Tensor:
    """x plus the mean of the text. Raises Uncountable where the answer is to be read from inside the network."""
    if ask.edit is not None and ask.tape is not None:
        raise Uncountable("It depends on the network's attention, which needs the weights.")
    text = ask.cond.get("text")
    return ask.x if text is None else ask.x + text.to(ask.x).mean((1, 2)).reshape(-1, 1, 1, 1)


class Unasked:
    """Adapters that are asked once a run, and not here: what they add changes no answer."""

    def check(self, name: str) -> None:
        """All that there are fit, as far as is known here."""

    blocks = ()
    levels = ()

    def features(self, name: str, shown: Tensor) -> list[Tensor]:
        return []

    def tokens(self, name: str, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return torch.zeros(1, 0, 0), torch.zeros(1, 0, 0)

    def keys(self, *_: Any) -> dict[str, Tensor]:
        return {}


class StandIn:
    """An outline in the place of its backbone, for counting alone: every text is zeros, every image its small copy."""

    revision = ""
    device = torch.device("cpu")

    def __init__(self, outline: Outline):
        self.outline = outline
        self.id, self.offers, self.sigmas = outline.id, outline.offers, outline.sigmas
        self.default_size, self.size_multiple = outline.default_size, outline.size_multiple
        self.tokens, self.reads_chunks, self.count_tokens = outline.tokens, outline.reads_chunks, outline.count_tokens
        self.latent_shape, self.levels, self.schedule = outline.latent_shape, outline.levels, outline.schedule
        self.controlnets = dict.fromkeys(outline.controlnets, "")
        self.adapters = outline.adapters
        self._words = [""]  # the token 0 is of no word

    def encode_prompt(self, texts: Sequence[str], clip_skip: int = 1) -> dict[str, Tensor]:
        """B texts -> {"text": (B, L, D) zeros, "tokens": (B, L)}, a token a word; {} where no prompt is read."""
        if not self.outline.features:
            return {}
        chunks = 1
        if self.reads_chunks:
            chunks = max(self.count_tokens(text)[1] for text in texts) // self.count_tokens("")[1]
        tokens = torch.zeros(len(texts), chunks * self.tokens, dtype=torch.long)
        between_marks = [i for i in range(tokens.shape[1]) if 0 < i % self.tokens < self.tokens - 1]
        for row, text in zip(tokens, texts):
            for i, word in zip(between_marks, re.findall(r"\w+|[^\w\s]", plain(text).lower())):
                if word not in self._words:
                    self._words.append(word)
                row[i] = self._words.index(word)
        return {"text": torch.zeros(*tokens.shape, self.outline.features), "tokens": tokens}

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        """The words of one text, in order, each with the place of its token; tokens (L,) as in a cond."""
        return [(self._words[token], [place]) for place, token in enumerate(tokens.tolist()) if token]

    def parts(self, length: int) -> list[tuple[int, int]]:
        """See `backbones.base.Backbone`."""
        return text_length.chunk_parts(length, self.tokens)

    def between_marks(self, tokens: Tensor) -> Tensor:
        """See `backbones.base.Backbone`."""
        return text_length.between_chunk_marks(tokens, self.tokens)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, C, h, w)."""
        if self.outline.factor == 1:
            return pixels * 2 - 1
        small = F.avg_pool2d(pixels.mean(1, keepdim=True), self.outline.factor) * 2 - 1
        return small.expand(-1, self.outline.channels, -1, -1)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W) in [0, 1]."""
        if self.outline.factor == 1:
            return (latents / 2 + 0.5).clamp(0, 1)
        large = F.interpolate(latents.mean(1, keepdim=True), scale_factor=float(self.outline.factor))
        return (large / 2 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)

    preview = decode

    def extend(self, prefix: str, extension: Any) -> None:
        """Keys of cond that begin with `prefix` change no answer here."""

    def check_controlnet(self, name: str) -> None:
        """All that it has fit, as far as is known here."""

    def controls(self, names: Sequence[str]) -> Any:
        raise Uncountable("A ControlNet needs its weights.")

    def read_map(self, name: str, shown: Tensor) -> Tensor:
        """As it is: it changes no answer here."""
        return shown

    def adapters_of(self, kind: str) -> Unasked:
        return Unasked()

    def lora(self, name: str) -> str:
        return f"lora.{name}"

    def reading_with(self, loras: Mapping[str, float]) -> StandIn:
        return self

    @property
    def perception_model(self) -> Any:
        raise Uncountable("It reads images by a perception model, which needs its weights.")

    classifier = contrastive = perception_model

    def denoise(self, ask: Ask) -> Tensor:
        """x0 = 0, of the shape of ask.x."""
        return _zeros(ask)

    def unread(self, text: str) -> str:
        return self.outline.unread(text)

    def unknown_words(self, text: str) -> list[str]:
        return []
