"""What a flow may say, and what is said about it. The types of samplers/ and conditioning/ are all here."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from samplers.noise import Noise

Cond = Mapping[str, Any]  # tensors (B, ...), or hashable values that hold for all rows, as the name of the weights
ROLE = "role"  # key of a cond: what it is to the run, one of ROLES; the network never sees it
ROLES = ("prompt", "negative", "other")  # "other", as of a second concept, is what a cond is that has none


@dataclass(frozen=True, eq=False)
class Ask:
    """Wants the denoised prediction of these rows; the reply to a list of asks is the list of their denoised
    predictions."""

    x: Tensor  # (B, C, H, W), VE coordinates
    sigma: Tensor  # (B,)
    cond: Cond
    edit: object | None = None  # lives for one ask; such an ask is never merged with another
    tape: object | None = None  # asks of one tape are answered with gradients, and merge only with each other
    role: str = "other"  # one of ROLES: what its cond is to the run


@dataclass(frozen=True, eq=False)
class Step:
    """Reports a step; the reply is the x to go on with, which a correction may have changed."""

    x: Tensor  # (B, C, H, W) at level sigma
    x0: Tensor  # (B, C, H, W), the denoised prediction that the step was made from
    sigma: float
    preparation: bool = False  # of what goes before the run: an image encoded upwards, a text tuned on the way down


@dataclass(frozen=True, eq=False)
class Done:
    """The flow has returned."""

    result: Any


@dataclass(frozen=True, eq=False)
class FlowFailed:
    """The flow has raised, or what it asked could not be answered."""

    error: BaseException


Event = Step | Done | FlowFailed
Flow = Generator[list[Ask] | Step, Any, Any]  # replies are list[Tensor] to asks and Tensor to a Step
Denoiser = Callable[..., Flow]  # D(x, sigma, cond, edit=None, tape=None) -> x0; sigma a float or (B,)
Sampler = Callable[[Denoiser, Tensor, Sequence[float], Cond, Noise], Flow]  # -> the last x
