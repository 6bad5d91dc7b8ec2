"""Measures the engines of backbones/engines.py on networks of the size of Still Life: time, exactness, start.

    python -m bench.engines                          the table of backbones/README.md
    python -m bench.engines --checkpoint FOLDER      also: how far the images of a checkpoint differ between engines

All engines are called in turn, round by round, and medians are taken: another load on the machine hits all alike.
"""

import argparse
import copy
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.engines import OpenVINOEngine, TorchEngine, UNetGraph

WIDTHS = {"48/96/144": (48, 96, 144), "64/128/192": (64, 128, 192)}
ROWS = (1, 2, 16)
Inputs = tuple[Tensor, Tensor, Tensor]


def network(widths: Sequence[int]) -> Any:
    """A UNet of the shape of Still Life with random weights, frozen."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet: Any = UNet2DConditionModel(
        sample_size=32, in_channels=4, out_channels=4, block_out_channels=tuple(widths), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=192, attention_head_dim=8, norm_num_groups=16,
    )  # fmt: skip
    return unet.eval().requires_grad_(False)


def inputs(rows: int, device: str = "cpu") -> Inputs:
    draw = torch.Generator().manual_seed(1)
    x, text = torch.randn(16, 4, 32, 32, generator=draw), torch.randn(16, 32, 192, generator=draw)
    t = torch.linspace(20, 980, 16)
    return x[:rows].to(device), t[:rows].to(device), text[:rows].to(device)


def candidates(unet: Any, compiled: bool) -> Iterator[tuple[str, Callable[[], Callable[..., Tensor]]]]:
    """Names, and functions that make the engine: (x, t, text) -> prediction."""

    def cast(dtype: torch.dtype, rows: int = 0) -> Callable[..., Tensor]:
        engine = TorchEngine(copy.deepcopy(unet).to(dtype), rows)
        return lambda x, t, text: engine(x, t, text, {})

    def autocast(*each: Tensor) -> Tensor:
        with torch.autocast(each[0].device.type, torch.bfloat16):
            return unet(*each, return_dict=False)[0].float()

    def openvino(precision: str) -> Callable[..., Tensor]:
        engine = OpenVINOEngine(UNetGraph(copy.deepcopy(unet)), "", precision)
        engine.run(*inputs(1))
        return engine.run

    def compile_it() -> Callable[..., Tensor]:
        fast = torch.compile(copy.deepcopy(unet), dynamic=False)
        for rows in ROWS:
            fast(*inputs(rows), return_dict=False)
        return lambda *each: fast(*each, return_dict=False)[0]

    yield "torch f32, as diffusers has it", lambda: lambda *each: unet(*each, return_dict=False)[0]
    yield "torch f32, channels_last", lambda: cast(torch.float32)
    if next(unet.parameters()).device.type == "cuda":
        yield "torch f16, channels_last", lambda: cast(torch.float16)
    else:
        yield "torch f32, channels_last, in pairs", lambda: cast(torch.float32, rows=2)
    yield "torch bf16, channels_last", lambda: cast(torch.bfloat16)
    yield "torch bf16 autocast", lambda: autocast
    if compiled:
        yield "torch.compile f32", compile_it
    if next(unet.parameters()).device.type == "cpu" and find_spec("openvino"):
        yield "openvino f32", lambda: openvino("f32")
        yield "openvino bf16", lambda: openvino("bf16")


def gradients(engine: TorchEngine, each: Inputs) -> Tensor:
    x = each[0].clone().requires_grad_()
    return torch.autograd.grad(engine(x, each[1], each[2], {}).square().sum(), x)[0]


def clock(function: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, rounds: int, compiled: bool, device: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One network: a row for each engine, with times in ms, `ratio` to diffusers' own way at 2 rows (the median of the
    rounds' ratios), `error` (rms, of the output's), `bits` (of 2 rows alone equal to those among 16), `start_s`."""
    unet = network(WIDTHS[name]).to(device)
    rows: list[dict[str, Any]] = []
    calls: dict[str, Callable[..., Tensor]] = {}
    for label, make in candidates(unet, compiled):
        say(f"{name}: making {label}")
        start = time.perf_counter()
        try:
            calls[label] = make()
        except Exception as error:
            print(f"{label}: left out, {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        rows.append({"network": name, "engine": label, "start_s": time.perf_counter() - start})
    reference = next(iter(calls.values()))(*inputs(16, device))
    times: dict[tuple[str, int], list[float]] = {(label, n): [] for label in calls for n in ROWS}
    for i in range(-1, rounds):
        say(f"{name}: round {i + 1} of {rounds}")
        for n in ROWS:
            each = inputs(n, device)
            for label, call in calls.items():
                took = clock(lambda call=call, each=each: call(*each), device)  # type: ignore[misc]
                if i >= 0:
                    times[label, n].append(took)
    first = rows[0]["engine"]
    for row in rows:
        label = row["engine"]
        row.update({f"ms_{n}": 1e3 * statistics.median(times[label, n]) for n in ROWS})
        row.update({f"fastest_ms_{n}": 1e3 * min(times[label, n]) for n in ROWS})
        row["ratio"] = statistics.median(a / b for a, b in zip(times[label, 2], times[first, 2]))
        out = calls[label](*inputs(16, device))
        row["error"] = ((out - reference).square().mean() / reference.square().mean()).sqrt().item()
        row["bits"] = float(torch.equal(calls[label](*inputs(2, device)), out[:2]))
    return rows


def measure_gradients(name: str, rounds: int, device: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Answer and backward of one taped ask of 2 rows."""
    unet = network(WIDTHS[name]).to(device)
    engines = {
        "torch f32, with gradients": TorchEngine(unet),
        "torch bf16, with gradients": TorchEngine(copy.deepcopy(unet).bfloat16()),
    }
    times: dict[str, list[float]] = {label: [] for label in engines}
    with torch.enable_grad():
        for i in range(-1, rounds):
            say(f"{name}: gradients, round {i + 1} of {rounds}")
            for label, engine in engines.items():
                took = clock(lambda engine=engine: gradients(engine, inputs(2, device)), device)  # type: ignore[misc]
                if i >= 0:
                    times[label].append(took)
    return [{"network": name, "engine": label, "ms_2": 1e3 * statistics.median(times[label])} for label in engines]


@contextmanager
def environment(**values: str) -> Iterator[None]:
    saved = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in saved.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def images(folder: str, engine: str, prompts: Sequence[str], steps: int) -> tuple[Tensor, float]:
    """20-step Euler images with guidance 4, seeds 0, 1, ... -> (B, 3, H, W) in 0..255, and seconds for one."""
    from backbones import stable_diffusion
    from samplers import SAMPLERS
    from samplers.flow import Noise, ask, run, together
    from samplers.schedules import native

    with environment(NINE_WAYS_ENGINE=engine, NINE_WAYS_DEVICE="cpu"):
        b = stable_diffusion.load(folder)
    sigmas, shape = native(steps, b.sigmas), b.latent_shape(b.default_size, b.default_size)
    made, took = [], []
    for seed, prompt in enumerate(prompts):
        start = time.perf_counter()
        text, null = b.encode_prompt([prompt]), b.encode_prompt([""])

        def D(x: Tensor, sigma: float, _cond: Any, text: Any = text, null: Any = null) -> Any:
            c, u = yield from together(ask(x, sigma, text), ask(x, sigma, null))
            return u + 4.0 * (c - u)

        noise = Noise([seed])
        x = noise(torch.empty(1, *shape)) * (1 + sigmas[0] ** 2) ** 0.5
        made.append((b.decode(run(SAMPLERS["euler"](D, x, sigmas, {}, noise), b.denoise)) * 255).round())
        took.append(time.perf_counter() - start)
    return torch.cat(made), statistics.median(took)


PROMPTS = (
    "a large red sphere to the left of a small blue cube on grass at sunset",
    "a small yellow cone on sand under an overcast sky",
    "a green cylinder behind a large purple torus on tiles by day",
    "a metal cube on snow at night",
)  # fmt: skip


def compare(folder: str, say: Callable[[str], None], steps: int = 20) -> list[dict[str, Any]]:
    """Images of a checkpoint by each engine against torch f32: PSNR, share of equal 8-bit values, seconds."""
    names = ["torch", "torch-bf16", *(["openvino", "openvino-bf16"] if find_spec("openvino") else [])]
    rows, reference = [], None
    for engine in names:
        say(f"{folder}: {engine}")
        made, seconds = images(folder, engine, PROMPTS, steps)
        reference = made if reference is None else reference
        error = (made - reference).square().mean().item()
        psnr = float("inf") if error == 0 else 10 * torch.tensor(255**2 / error).log10().item()
        rows.append({"checkpoint": folder, "engine": engine, "psnr_db": psnr, "picture_s": seconds,
                     "equal": (made == reference).float().mean().item(),
                     "largest": (made - reference).abs().max().item()})  # fmt: skip
    return rows


def table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    """Markdown; columns: key -> "heading|format"."""
    heads = [text.partition("|")[0] for text in columns.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = [format(row[key], text.partition("|")[2]) if key in row else "" for key, text in columns.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, flat")
    parser.add_argument("--quick", action="store_true", help="the smaller network only, few rounds: under a minute")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: its start takes minutes")
    parser.add_argument("--rounds", type=int, help="how often each engine is called (3 with --quick, else 15)")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="compare images of this checkpoint between engines")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (3 if chosen.quick else 15)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)

    def say(text: str) -> None:
        print(f"\r{text:<78}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        for name in list(WIDTHS)[: 1 if chosen.quick else None]:
            rows += measure(name, rounds, chosen.compile, device, say)
            rows += measure_gradients(name, max(rounds // 3, 1), device, say)
    compared = compare(chosen.checkpoint, say) if chosen.checkpoint else []
    say("")
    threads = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    print(f"\n32x32 latents, torch {torch.__version__}, {threads}\n")
    print(table(rows, {
        "network": "widths|", "engine": "engine|", "ms_1": "1 row, ms|.1f", "ms_2": "2 rows, ms|.1f",
        "ratio": "ratio at 2|.2f", "ms_16": "16 rows, ms|.0f", "error": "error|.0e", "bits": "same bits alone|.0f",
        "start_s": "start, s|.1f",
    }))  # fmt: skip
    if compared:
        print("\n" + table(compared, {"engine": "engine|", "picture_s": "image, s|.2f", "psnr_db": "PSNR, dB|.1f",
                                      "equal": "equal values|.4f", "largest": "largest difference|.0f"}))  # fmt: skip
    if chosen.json:
        flat = {}
        for row in [*rows, *compared]:
            name = " ".join(str(row.get(key, "")) for key in ("network", "engine"))
            name = "".join(letter if letter.isalnum() else "_" for letter in name.replace(",", "")).strip("_").lower()
            flat.update({f"{name}_{key}": value for key, value in row.items() if isinstance(value, float)})
        chosen.json.write_text(json.dumps(flat, indent=1))


if __name__ == "__main__":
    main()
