"""Engines: ways to run a denoising UNet, and the one function that chooses.

An engine is called with x (B, C, h, w) float32 in the network's own coordinates, timesteps t (B,), text (B, L, D) and
`added` (further inputs by diffusers' names, each (B, ...)), and returns the prediction (B, C, h, w) float32. Measured
figures are in README.md of this folder; `python -m bench.engines` makes them.
"""

import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from backbones.cache import cache_folder
from backbones.memory import GIGABYTE, free

log = logging.getLogger(__name__)
SMALL = 60_000_000  # parameters: up to here one image takes seconds on a CPU, and exactness is cheap
THREADS = torch.get_num_threads()  # of the process: whoever calls an engine may have set fewer for itself
ENGINES = ("torch", "torch-bf16", "torch-fp16", "openvino", "openvino-bf16")


class NetworkEngine(Protocol):
    name: str

    def __call__(self, x: Tensor, t: Tensor, text: Tensor, added: Mapping[str, Tensor]) -> Tensor: ...


@dataclass(frozen=True)
class EngineChoice:
    """What runs a network: the device, the engine of plain asks, torch's dtype, and rows to a torch call (0: all)."""

    device: torch.device
    engine: str  # of ENGINES
    dtype: torch.dtype  # of the torch network, which answers the asks with a tape or an edit in any case
    rows: int = 0
    strict: bool = False  # asked for by name: fail where it is missing, rather than take torch
    offload: str = "none"  # of `offload.OFFLOADS`: which weights are on the device
    later: bool = False  # a large UNet in torch, until OpenVINO has been made of it (`openvino_later`)


def plan(parameters: int, half: str = "torch-fp16") -> EngineChoice:
    """For a network of so many parameters on this machine; $NINE_WAYS_DEVICE and $NINE_WAYS_ENGINE override.

    On the CPU float32, in OpenVINO where it is installed: at once where the network is small, else as soon as it is
    converted, where the memory has room for that. On CUDA float32 for small networks,
    whose time is launches, and `half` for large ones: float16, or bf16 where the family was made for it. On the CPU
    bf16 is quicker, and changes the image: by name only. Small networks in torch on the CPU run in pairs of rows, which
    makes a row's bits independent of its batch. Raises ValueError for a name that is no engine or no device of this
    machine.
    """
    wanted = os.environ.get("NINE_WAYS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"NINE_WAYS_DEVICE={wanted}: this machine has no such device ({error})") from error
    small = parameters <= SMALL
    name = os.environ.get("NINE_WAYS_ENGINE") or ""
    if name and name not in ENGINES:
        raise ValueError(f"NINE_WAYS_ENGINE={name}: give one of {', '.join(ENGINES)}")
    strict = bool(name)
    later = not name and not small and device.type == "cpu" and _room_for_openvino(parameters)
    if not name and device.type == "cpu":
        name = "openvino" if small and importlib.util.find_spec("openvino") else "torch"
    elif not name:
        name = "torch" if small else half
    if name.startswith("openvino") and device.type != "cpu":
        raise ValueError(f"NINE_WAYS_ENGINE={name} runs on the CPU, and NINE_WAYS_DEVICE is {device}")
    dtype = {"torch-bf16": torch.bfloat16, "torch-fp16": torch.float16}.get(name, torch.float32)
    return EngineChoice(device, name, dtype, 2 if small and device.type == "cpu" else 0, strict, later=later)


def _room_for_openvino(parameters: int) -> bool:
    """For the weights as torch has them, and as OpenVINO packs them."""
    room = 2 * 4 * parameters + 4 * GIGABYTE
    return importlib.util.find_spec("openvino") is not None and free(torch.device("cpu")) >= room


def choose(
    unet: nn.Module, plan: EngineChoice, key: str, graph: Callable[[Any], "Graph"] | None = None
) -> NetworkEngine:
    """The engine of plain asks, where `unet` is on the plan's device in its dtype; key: a hash of its weights; graph:
    what makes a UNet of another kind a graph."""
    if plan.engine.startswith("openvino"):
        precision = "bf16" if plan.engine.endswith("bf16") else "f32"
        try:
            is_large = sum(one.numel() for one in unet.parameters()) > SMALL
            return OpenVINOEngine((graph or UNetGraph)(unet), "" if is_large else key, precision, is_large)
        except Exception as error:
            if plan.strict:
                raise
            log.warning("OpenVINO cannot run this network (%s): torch does", error)
    return TorchEngine(unet, plan.rows)


class TorchEngine:
    """The network as diffusers runs it, in the dtype it has; rows: of each call, filled up, or 0 for all at once.

    channels_last, but for large networks on a CPU: there it is a second copy of their convolutions (2.3 GB of Stable
    Diffusion 1.5) beside the file that their weights are mapped from, and no faster (README.md of this folder).
    """

    def __init__(self, unet: nn.Module, rows: int = 0):
        weights = list(unet.parameters())
        as_loaded = weights[0].device.type == "cpu" and sum(one.numel() for one in weights) > SMALL
        self.format = torch.contiguous_format if as_loaded else torch.channels_last
        self.unet, self.rows = unet.to(memory_format=self.format), rows  # type: ignore[call-overload]
        self.name = f"torch {str(next(unet.parameters()).dtype).removeprefix('torch.')}"

    def __call__(self, x: Tensor, t: Tensor, text: Tensor, added: Mapping[str, Tensor], rows: int | None = None
                 ) -> Tensor:  # fmt: skip
        """rows: in place of the engine's own. An edit may couple rows: its ask goes through in one piece, rows=0."""
        rows = self.rows if rows is None else rows
        n = len(x)
        if not rows or n == rows:
            return self._call(x, t, text, added)
        pieces = []
        for i in range(0, n, rows):
            take = torch.arange(i, i + rows, device=x.device).clamp(max=n - 1)  # the last row fills up
            out = self._call(x[take], t[take], text[take], {key: value[take] for key, value in added.items()})
            pieces.append(out[: n - i])
        return torch.cat(pieces)

    def _call(self, x: Tensor, t: Tensor, text: Tensor, added: Mapping[str, Tensor]) -> Tensor:
        dtype = next(self.unet.parameters()).dtype
        x = x.to(dtype).contiguous(memory_format=self.format)
        extra = {key: value if key == "time_ids" else value.to(dtype) for key, value in added.items()}
        out = self.unet(x, t, text.to(dtype), added_cond_kwargs=extra or None, return_dict=False)[0]
        return out.float().contiguous()


class Graph(nn.Module, ABC):
    """A network as a function of tensors alone, each with the row first, for export."""

    names: tuple[str, ...]

    @abstractmethod
    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes and types, two rows of each."""


class UNetGraph(Graph):
    """A UNet, or what stands in for one and names its further inputs in `more`: name -> an example (2, ...)."""

    def __init__(self, unet: Any):
        super().__init__()
        self.unet = unet
        self.xl = unet.config.addition_embed_type == "text_time"
        self.more: dict[str, Tensor] = getattr(unet, "more", {})
        self.names = ("x", "t", "text", *(("text_embeds", "time_ids") if self.xl else ()), *self.more)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, *added: Tensor) -> Tensor:
        extra = dict(zip(self.names[3:], added)) or None
        return self.unet(x, t, text, added_cond_kwargs=extra, return_dict=False)[0]

    def example(self) -> tuple[Tensor, ...]:
        config = self.unet.config
        size = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]
        size = min(size, 32)
        tensors = [torch.zeros(2, config.in_channels, size, size), torch.tensor([500.0, 100.0]),
                   torch.zeros(2, 32, config.cross_attention_dim)]  # fmt: skip
        if self.xl:
            pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            tensors += [torch.zeros(2, pooled), torch.ones(2, 6)]
        return (*tensors, *self.more.values())


class DecoderGraph(Graph):
    names = ("z",)

    def __init__(self, vae: Any):
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> Tensor:
        return self.vae.decode(z, return_dict=False)[0]

    def example(self) -> tuple[Tensor, ...]:
        return (torch.zeros(2, self.vae.config.latent_channels, 32, 32),)


class OpenVINOEngine:
    """A graph in OpenVINO on the CPU, row by row on two streams that share the cores: one for each half of guidance.

    A large network is compiled once, for images and texts of any size (`any_size`), since its weights are packed anew
    each time; nothing of it is kept on the disk: converting it shares torch's weights, and is quicker than reading.

    Every row is a request of its own, so its bits depend on nothing but itself and the number of cores. The converted
    network is kept on disk (`cache_folder`) under `key`; compiling takes some tenths of a second for each new shape.
    OpenVINO's own compile cache is not used: it takes no notice of the precision, and a network compiled in f32 and
    read back in bf16 gave noise (2026.4.1).
    """

    def __init__(self, graph: Graph, key: str = "", precision: str = "f32", any_size: bool = False):
        self.any_size = any_size
        self.name, self.precision, self.names = f"openvino {precision}", precision, graph.names
        self._ov = openvino()
        self._core = self._ov.Core()
        self._model = self._read(graph, key)
        self._compiled: dict[Any, Any] = {}

    def __call__(self, x: Tensor, t: Tensor, text: Tensor, added: Mapping[str, Tensor]) -> Tensor:
        inputs = {"x": x, "t": t, "text": text, **added}
        return self.run(*(inputs[name] for name in self.names))

    def run(self, *tensors: Tensor) -> Tensor:
        """The graph's inputs, each (B, ...) -> its output (B, ...) float32."""
        arrays = [tensor.detach().float().contiguous().numpy() for tensor in tensors]
        queue = self._queue(tuple(array.shape[1:] for array in arrays))
        rows: list[Any] = [None] * len(tensors[0])

        def keep(request: Any, i: int) -> None:
            rows[i] = torch.from_numpy(request.get_output_tensor(0).data.copy())

        queue.set_callback(keep)
        for i in range(len(rows)):
            queue.start_async([array[i : i + 1] for array in arrays], i)
        queue.wait_all()
        return torch.cat(rows)

    def _queue(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        if self.any_size:
            shapes = ()
        if shapes not in self._compiled:
            model = self._model.clone()
            known = [[*one.partial_shape][1:] for one in model.inputs] if self.any_size else shapes
            model.reshape({i: [1, *shape] for i, shape in enumerate(known)})
            threads = min(THREADS, 16)
            streams = min(threads, 2)
            threads -= threads % streams  # as many to each stream: the sums keep their order
            compiled = self._core.compile_model(model, "CPU", {
                "INFERENCE_PRECISION_HINT": self.precision, "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams, "ENABLE_CPU_PINNING": False,
            })  # fmt: skip
            self._compiled[shapes] = self._ov.AsyncInferQueue(compiled, streams)
        return self._compiled[shapes]

    def _read(self, graph: Graph, key: str) -> Any:
        import diffusers

        home = cache_folder()
        name = f"{type(graph).__name__}-{key}-{self._ov.__version__.split('-')[0]}-{diffusers.__version__}"
        if home is None or not key:
            return self._convert(graph)
        if not (home / name / "model.xml").exists():
            self._save(self._convert(graph), home / name)
        try:
            return self._core.read_model(home / name / "model.xml")
        except RuntimeError:  # damaged
            shutil.rmtree(home / name, ignore_errors=True)
            return self._convert(graph)

    def _save(self, model: Any, folder: Path) -> None:
        try:
            part = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
            self._ov.save_model(model, part / "model.xml", compress_to_fp16=False)
            part.rename(folder)
        except (OSError, RuntimeError) as error:  # another process was first, or the disk is full
            log.info("the converted network was not kept: %s", error)
            shutil.rmtree(part, ignore_errors=True)

    def _convert(self, graph: Graph) -> Any:
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, about shapes that are constant here
            example = graph.example()
            traced = torch.jit.trace(graph.eval(), example, check_trace=False)
            frontend = FrontEndManager().load_by_framework("pytorch")  # four times quicker than ov.convert_model
            decoder = TorchScriptPythonDecoder(traced, example_input=example)  # has to outlive the conversion
            return frontend.convert(frontend.load(decoder))


def openvino() -> Any:
    """The module openvino, without its telemetry: importing it plainly reports the import to its makers.

    Raises ImportError where it is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its import fails: the stub serves
    import openvino as module

    return module
