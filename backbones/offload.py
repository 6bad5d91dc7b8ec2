"""Checkpoints that are larger than the memory of the GPU: weights stay in RAM, and are on the GPU only while they are
needed.

    none         all parts are on the GPU
    model        one part at a time: the text encoders, then the network, then the autoencoder
    sequential   one layer at a time: slow, and the largest checkpoint runs

accelerate's own hooks do the like for pipelines, which call their parts in one order. Here methods ask in any order,
and gradients may be on their way back through a network when the autoencoder is called; so the weights on the GPU are
copies of those in RAM (never written back, for they are frozen), and a graph that still needs such a copy keeps it.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from torch import Tensor, nn

from backbones.footprint import Footprint
from backbones.memory import GIGABYTE, free

log = logging.getLogger(__name__)
VARIABLE = "NINE_WAYS_OFFLOAD"
NONE, MODEL, SEQUENTIAL = OFFLOADS = "none", "model", "sequential"
WORDS = {NONE: "", MODEL: "one part at a time on the GPU (model offload)",
         SEQUENTIAL: "one layer at a time on the GPU (sequential offload, slow)"}  # fmt: skip


def choose(parts: Mapping[str, int], room: int, free: int) -> str:
    """One of OFFLOADS, the quickest that fits. parts: bytes of each part; room: bytes beside them for an image; free:
    bytes on the GPU."""
    if sum(parts.values()) + room <= free:
        return NONE
    return MODEL if max(parts.values(), default=0) + room <= free else SEQUENTIAL


def chosen(needed: Footprint) -> str:
    """By the memory that is free now; $NINE_WAYS_OFFLOAD overrides. On a CPU there is nothing to choose. Raises
    ValueError where the variable has no such value."""
    wanted = os.environ.get(VARIABLE) or ""
    if wanted and wanted not in OFFLOADS:
        raise ValueError(f"{VARIABLE}={wanted}: give one of {', '.join(OFFLOADS)}")
    if needed.device.type == "cpu":
        return NONE
    left = free(needed.device)
    how = wanted or choose(needed.parts, needed.room, left)
    if how != NONE:
        log.warning("%.1f GB of weights, %.1f GB free on %s: %s", sum(needed.parts.values()) / GIGABYTE,
                    left / GIGABYTE, needed.device, WORDS[how])  # fmt: skip
    return how


def place(pipe: Any, device: torch.device, how: str) -> None:
    """The networks of a pipeline on the CPU, to the device, or so that their weights come there when they are called.
    how: of OFFLOADS."""
    if how == NONE:
        pipe.to(device)
        return
    turns = Turns(device)
    for module in [one for one in pipe.components.values() if isinstance(one, nn.Module)]:
        if how == MODEL:
            add_hook_to_module(module, Turn(turns, [*module.modules()]))
            continue
        for one in module.modules():
            has_own = any(True for _ in _own(one))
            if one is module or (has_own and any(True for _ in one.children())):
                add_hook_to_module(one, Around(turns, [one]))
            elif has_own:
                add_hook_to_module(one, Turn(turns, [one]))


def running_on(module: Any) -> torch.device:
    """The device on which a module computes, wherever its weights are now."""
    hook = getattr(module, "_hf_hook", None)
    if isinstance(hook, Turn):
        return hook.execution_device
    known: torch.device | None = getattr(module, "device", None)  # a model of diffusers or transformers says it
    return known if known is not None else next(module.parameters()).device


class Turns:
    """Whose turn it is to be on the device."""

    def __init__(self, device: torch.device):
        self.device = device
        self.there: Turn | None = None

    def begin(self, one: "Turn") -> None:
        if self.there is not one:
            if self.there is not None:
                self.there.leave()
            self.there = one
            one.arrive()


class Turn(ModelHook):
    """Brings the weights of its modules to the device when the first of them is called; they stay until the next one's
    turn begins."""

    def __init__(self, turns: Turns, modules: list[nn.Module]):
        self.turns, self.modules = turns, modules
        self.execution_device = turns.device  # diffusers' pipelines ask for it by this name
        self._at_home: list[tuple[dict[str, Any], str, Tensor]] = []  # where a tensor belongs, while its copy is there

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Before the module's forward; diffusers calls it before `encode` and `decode` of an autoencoder, too."""
        self.begin()
        return send_to_device(args, self.execution_device), send_to_device(kwargs, self.execution_device)

    def begin(self) -> None:
        self.turns.begin(self)

    def arrive(self) -> None:
        if self._at_home:
            return
        copies: dict[int, Tensor] = {}  # weights that two layers share are one copy
        for module in self.modules:
            for table, name, home in _own(module):
                if id(home) not in copies:
                    made = home.detach().to(self.execution_device, copy=True)
                    is_weight = isinstance(home, nn.Parameter)
                    copies[id(home)] = nn.Parameter(made, requires_grad=False) if is_weight else made
                table[name] = copies[id(home)]
                self._at_home.append((table, name, home))

    def leave(self) -> None:
        for table, name, home in self._at_home:
            if table[name].dtype != home.dtype:  # it was moved to another one while it was there
                home.data = table[name].detach().to(home.device)
            table[name] = home
        self._at_home = []


class Around(Turn):
    """Of a module whose layers have turns of their own: what belongs to itself is there from its call to its end."""

    def begin(self) -> None:
        self.arrive()

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        self.leave()
        return output


def _own(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """The tensors of a module itself, without those of its layers: the table that each is in, its name there."""
    for table in (module._parameters, module._buffers):
        yield from ((table, name, value) for name, value in [*table.items()] if value is not None)  # type: ignore[misc]
