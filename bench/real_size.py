"""Peak memory, the first step and seconds a step of a checkpoint of Stable Diffusion 1.5's true size, ours beside
diffusers' own pipeline.

The checkpoint has random weights, float32, and is written once. Each of the two runs in a process of its own, from its
start to the decoded image, with the same prompt, guidance and steps: `python -m bench.speed --size sd15 --side 256`.
Other work on the machine moves the seconds by the clock; processor time and memory it moves little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.table import Report

ROOT = Path(__file__).parents[1]
PROMPT, SCALE = "a photograph of a lighthouse at dusk", 7.5
WIDTHS = (320, 640, 1280, 1280)
WHO = ("ours", "diffusers")


def measure(report: Report, folder: Path | None, side: int, steps: int) -> None:
    """Both in turn, as figures of the report. folder: where the checkpoint is kept; None: in the system's folder for
    what passes. side: of the image, in pixels."""
    folder = folder or Path(tempfile.gettempdir()) / "nine-ways-bench-sd15"
    if not (folder / "model_index.json").exists():
        report.note(f"writing random weights of the true size to {folder}")
        write(folder)
    report.note(f"{side} x {side} pixels, {steps} steps, guidance, float32 on the CPU")
    for file in folder.rglob("*.safetensors"):  # once for both: what the system has of a file is not read from the disk
        with file.open("rb") as stream:
            while stream.read(1 << 24):
                pass
    found = {who: child(who, folder, side, steps) for who in WHO}
    for who, one in found.items():
        report.figure(f"{who}_peak_gb", one["peak"], f"{who}: highest resident memory", "GB",
                      "below 6" if who == "ours" else "")  # fmt: skip
        report.figure(f"{who}_anonymous_gb", one["anonymous"], f"{who}: of it not mapped from files, at the end", "GB")
        report.figure(f"{who}_first_step_s", one["first"], f"{who}: process start to first step", "s")
        report.figure(f"{who}_first_step_cpu_s", one["first_cpu"], f"{who}: processor time until then", "s")
        report.figure(f"{who}_step_cpu_s", one["step_cpu"], f"{who}: processor time of a further step", "s")
        report.figure(f"{who}_step_s", one["step"], f"{who}: a further step by the clock", "s")
        report.figure(f"{who}_decode_cpu_s", one["decode_cpu"], f"{who}: processor time after the last step", "s")
    ours, theirs = (found[who] for who in WHO)
    for key, words in {"peak": "highest memory", "first_cpu": "processor time to the first step",
                       "step_cpu": "processor time of a step"}.items():  # fmt: skip
        report.figure(f"{key}_over_diffusers", ours[key] / theirs[key], f"ours / diffusers, {words}", "x")


def write(folder: Path, widths: tuple[int, ...] = WIDTHS, text: int = 768, layers: int = 12, vae: int = 128) -> None:
    """A checkpoint of diffusers' StableDiffusionPipeline with random weights, float32; without other arguments of
    Stable Diffusion 1.5's size. Raises OSError where the disk has no room."""
    import diffusers
    import torch
    import transformers

    from backbones.clip_vocabulary import MERGES, from_merges

    torch.manual_seed(0)
    home = folder / "tokenizer"
    home.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"  # their pairs and triples stand in for CLIP's own list
    merges = [f"{a} {b}" for a in letters for b in letters]
    merges += [f"{a}{b} {c}" for a in letters for b in letters for c in letters]
    for name, words in from_merges("\n".join(["#version", *merges]), MERGES).items():
        (home / name).write_text(str(words), encoding="utf-8")
    words = transformers.CLIPTokenizer.from_pretrained(home, local_files_only=True)
    words.model_max_length, words.pad_token = 77, "<|endoftext|>"
    encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=text, intermediate_size=4 * text, num_hidden_layers=layers,
        num_attention_heads=12, max_position_embeddings=77, projection_dim=text, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.eos_token_id,
    ))  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=64, block_out_channels=widths, cross_attention_dim=text, attention_head_dim=8
    )
    stages = (vae, 2 * vae, 4 * vae, 4 * vae)
    images = diffusers.AutoencoderKL(
        block_out_channels=stages, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
    )  # fmt: skip
    levels = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    diffusers.StableDiffusionPipeline(
        vae=images, text_encoder=encoder, tokenizer=words, unet=unet, scheduler=levels, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def child(who: str, folder: Path, side: int, steps: int) -> dict[str, float]:
    """The figures of one of WHO in a process of its own: seconds, and gigabytes (10^9 bytes)."""
    with tempfile.TemporaryDirectory() as cache:  # a first start: nothing is kept from an earlier one
        own = {"HF_HUB_OFFLINE": "1", "NINE_WAYS_CACHE": cache, "NINE_WAYS_DEVICE": "cpu"}
        line = [sys.executable, "-m", "bench.real_size", who, str(folder), str(side), str(steps), repr(time.time())]
        done = subprocess.run(line, cwd=ROOT, env={**os.environ, **own}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Times:
    """When each step was done: by the clock, and of this process's processor time."""

    def __init__(self, began: float):
        self.began = began
        self.steps: list[tuple[float, float]] = []

    def step(self) -> None:
        self.steps.append((time.time() - self.began, time.process_time()))

    def figures(self) -> dict[str, float]:
        """After the image is decoded."""
        (first, first_cpu), (last, last_cpu) = self.steps[0], self.steps[-1]
        more = max(len(self.steps) - 1, 1)
        memory = _memory()
        return {"first": first, "first_cpu": first_cpu, "step": (last - first) / more,
                "step_cpu": (last_cpu - first_cpu) / more, "decode_cpu": time.process_time() - last_cpu,
                "peak": memory["VmHWM"], "anonymous": memory["RssAnon"]}  # fmt: skip


def _memory() -> dict[str, float]:
    """Of this process, in gigabytes, by the names that Linux has for them."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e9 for words in lines if words[-1] == "kB"}


def ours(folder: Path, side: int, steps: int, times: Times) -> dict[str, float]:
    """Through the app's own engine."""
    from app.engine.engine import Engine
    from app.schema.recipe import Recipe

    engine = Engine(str(folder), name="sd15")
    recipe = Recipe.make(
        prompt=PROMPT, backbone="sd15", width=side, height=side, steps=steps, cfg_scale=SCALE, seed=1, sampler="euler"
    )

    def watch(plan: Any, backbone: Any) -> Any:
        from samplers.flow import Step, tap

        return tap(plan.flow, lambda message, reply: times.step() if isinstance(message, Step) else None)

    engine.submit(recipe, watch=watch).result()
    found = times.figures()
    engine.close()
    return found


def diffusers(folder: Path, side: int, steps: int, times: Times) -> dict[str, float]:
    """Through diffusers' StableDiffusionPipeline, as its documentation has it."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)

    def seen(pipe: Any, step: int, t: Any, state: dict[str, Any]) -> dict[str, Any]:
        times.step()
        return state

    pipe(PROMPT, num_inference_steps=steps, guidance_scale=SCALE, height=side, width=side, callback_on_step_end=seen)
    return times.figures()


def main() -> None:
    """One of the two, alone in this process; prints its figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.real_size")
    parser.add_argument("who", choices=WHO)
    parser.add_argument("folder", type=Path)
    parser.add_argument("side", type=int)
    parser.add_argument("steps", type=int)
    parser.add_argument("began", type=float, help="when this process was started, as time.time() has it")
    args = parser.parse_args()
    times = Times(args.began)
    print(json.dumps({"ours": ours, "diffusers": diffusers}[args.who](args.folder, args.side, args.steps, times)))


if __name__ == "__main__":
    main()
