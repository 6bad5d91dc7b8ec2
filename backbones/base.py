"""What a backbone is: a checkpoint, seen from VE coordinates."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from samplers import SCHEDULES
from samplers.protocol import Ask


@runtime_checkable
class Backbone(Protocol):
    """Turns asks into denoised predictions, prompts into conditions, images into latents and back.

    Its parameters are frozen, and it leaves nothing behind between two asks. Latents are of unit scale, as its VAE
    gives them; x = x0 + sigma * eps, whatever coordinates the network was trained in.

    A backbone may also have `offers: frozenset[str]`, what methods can ask of it beyond this: see
    `conditioning.registry.NEEDS`. One that offers "attention.cross" gives "tokens" (B, L) in its conds as well, and has
    `words(tokens of one row) -> [(word, places of its tokens along L), ...]`, `parts(L)`, begins and ends of the parts
    of a text that have marks and filling of their own, and `between_marks(tokens) -> (B, L)` bool, which of them are of
    the prompt. One whose `quick: bool` is False takes
    tens of seconds for a step, and none is made ahead of the first run. One whose `weighs_words: bool` is True honours
    weights such as (cube:1.3); one where it is False reads the words without them (`common.weighted_text.plain`); one
    that has none reads no words. With `reads_chunks: bool` True, a text is read in as many chunks as it takes, each
    with places of its own, and BREAK begins another one; `encode_prompt` fills the shorter ones up where it is given
    several texts. `learned_words`: of textual inversion, those that it reads; None: it reads none.
    `clip_skips: int`: up to which clip skip it reads its prompts, by `encode_prompt(texts, clip_skip)`; where there is
    none, or it is 1, by 1 alone. `count_tokens(text) -> (tokens of a text, places for them)`, the marks of begin and
    end left out, both 0 where none are counted: more tokens than places are not read; the places grow where texts are
    in chunks.
    With `guidance_keeps_length: bool` True its authors guide it so that every token of the image, of `patch` x `patch`
    latents, keeps the length of the conditional prediction (`conditioning.sampling.guidance.cfg`).
    """

    id: str  # folder, Hub id, or a name that `backbones.load` knows
    revision: str  # hash of the weights
    sigmas: Tensor  # (T,) the levels it was trained at, ascending; its ends are sigma_min and sigma_max
    default_size: int  # pixels
    size_multiple: int  # pixels
    tokens: int  # places of the text encoder, of a chunk where it reads in chunks; 0: texts of any length, or none

    def levels(self, width: int, height: int) -> Tensor:
        """The levels (T,) that an image of so many pixels was trained at, ascending: `sigmas`, unless the network was
        trained at others for other sizes."""
        ...

    def schedule(self, steps: int, width: int, height: int) -> list[float]:
        """The levels that a run goes through where no other schedule is chosen: steps + 1, falling, the last 0.0."""
        ...

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Pixels -> (C, h, w). Raises ValueError for a size that is no multiple of size_multiple."""
        ...

    def encode_prompt(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """B texts -> {"text": (B, L, D), ...}: the cond of B rows."""
        ...

    def denoise(self, ask: Ask) -> Tensor:
        """The x0 of every row, of the shape of ask.x, in float32. It has gradients only if ask.tape is not None."""
        ...

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> latents (B, C, h, w)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> images (B, 3, H, W) in [0, 1]."""
        ...

    def preview(self, x0: Tensor) -> Tensor:
        """The cheap decode, for looking on: (B, C, h, w) -> (B, 3, any height, any width) in [0, 1]."""
        ...

    def unread(self, text: str) -> str:
        """The end of a prompt that the text encoder has no place for; "" where it reads all of it."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """The words of a prompt that it never learned; [] where there is no such notion."""
        ...


def levels_of(backbone: Any, schedule: str, steps: int, width: int, height: int) -> list[float]:
    """steps + 1 falling levels, the last 0.0, under a schedule of `samplers.SCHEDULES`; backbone: or its outline."""
    if schedule == "native":
        return backbone.schedule(steps, width, height)
    return SCHEDULES[schedule](steps, backbone.levels(width, height))


def check_size(id: str, multiple: int, width: int, height: int) -> None:
    """Raises ValueError for a size in pixels that is no multiple of `multiple`. id: of the backbone."""
    if width <= 0 or height <= 0 or width % multiple or height % multiple:
        raise ValueError(f"{width} x {height} pixels: width and height are multiples of {multiple} with {id}")
