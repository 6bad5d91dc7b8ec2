"""How long an image takes, and how much of that is the network.

A run of 20 steps with guidance, one image, through the app's own engine, timed from submit to the last event. What is
compared is measured in turn in the same process, and medians are given, so that other load hits all alike.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from app.engine.engine import Engine
from app.engine.events import Finished, Progress
from app.engine.worker import ALL_THREADS
from app.schema.recipe import Recipe
from bench import real_size
from bench.table import Report
from samplers.protocol import Ask

ROOT = Path(__file__).parents[1]
STEPS, SCALE = 20, 4.0
PROMPT = "a large red sphere to the left of a small blue cube on grass at sunset"


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.speed", __doc__, _options, arguments) as report:
        if report.args.size == "sd15":
            real_size.measure(report, None, report.args.side, 2 if report.quick else 4)
            return
        times = 3 if report.quick else 15
        start(report, 1 if report.quick else 3)
        began = time.perf_counter()
        engine = Engine(report.args.backbone)
        while not engine.wait(0.1):
            if engine.trouble:
                for key, label in LABELS.items():
                    report.skip(key, label, engine.trouble.splitlines()[0])
                return
        report.figure("load_s", time.perf_counter() - began, "model loaded and warm", "s")
        assert engine.backbone is not None
        size = engine.backbone.default_size
        recipe = Recipe.make(
            prompt=PROMPT, backbone=engine.name, width=size, height=size, steps=STEPS, cfg_scale=SCALE, seed=1
        )
        used = getattr(getattr(engine.backbone, "engine", None), "name", type(engine.backbone).__name__)
        report.note(f"{engine.name}, {size} x {size} pixels, {STEPS} steps, guidance; {used}")
        try:
            alone(report, engine, recipe, times)
            together(report, engine, recipe, 1 if report.quick else 4)
            six(report, engine, 1 if report.quick else 3)
            diffusers(report, engine, recipe, times)
        finally:
            engine.close()


LABELS = {
    "wall_over_network": "run / (network evaluations x their time)",
    "first_preview_s": "submit to first preview",
    "picture_s": "submit to image",
    "eight_over_serial": "8 runs at once / 8 in a row",
    "six_together_over_sum": "six methods compared / each alone",
    "wall_over_diffusers": "image / the same by diffusers",
}


def alone(report: Report, engine: Engine, recipe: Recipe, times: int) -> None:
    """One run at a time, in turn with bare network evaluations."""
    first = timed(engine, recipe)
    network, looks, walls, ratios = [], [], [], []
    call = bare(engine, recipe)
    nfe = 0
    for i in report.steps(range(times), "runs"):
        decoding = engine.spent.decode
        wall, look, finished = timed(engine, recipe.but(seed=i))
        decoding = engine.spent.decode - decoding
        nfe = finished.nfe
        seconds = statistics.median(call() for _ in range(nfe))
        network.append(seconds)
        looks.append(look)
        walls.append(wall)
        ratios.append((wall - decoding) / (nfe * seconds))
    wall = statistics.median(walls)
    report.figure("network_ms", 1000 * statistics.median(network), "one network evaluation, 2 rows", "ms")
    report.figure("network_nfe", nfe, "NFE of a run")
    report.figure("wall_over_network", statistics.median(ratios), LABELS["wall_over_network"], "x", "at most 1.05")
    report.figure("first_preview_s", statistics.median(looks), LABELS["first_preview_s"], "s", "at most 0.5")
    report.figure("picture_s", wall, LABELS["picture_s"], "s", "at most 1.2")
    report.figure("first_over_warm", first[0] / wall, "first run / a warm one", "x", "at most 2")
    spent = engine.spent
    beside = {"preview": spent.preview, "decode": spent.decode}
    for name, seconds in beside.items():
        report.figure(f"{name}_share", seconds / spent.network, f"{name}s / network", "x")


def together(report: Report, engine: Engine, recipe: Recipe, times: int) -> None:
    """Eight clients at once against the same eight runs in a row; and whether they get the same images."""
    recipes = [recipe.but(seed=100 + i) for i in range(8)]
    serial, at_once, same = [], [], True
    for _ in report.steps(range(times), "crowds of eight"):
        began = time.perf_counter()
        expected = [timed(engine, one)[2].images[0].tobytes() for one in recipes]
        serial.append(time.perf_counter() - began)
        images: list[bytes] = [b""] * 8

        def client(i: int, images: list[bytes] = images) -> None:
            images[i] = engine.submit(recipes[i]).result().images[0].tobytes()

        engine.forget()
        threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        at_once.append(time.perf_counter() - began)
        same = same and images == expected
    ratio = statistics.median(a / s for a, s in zip(at_once, serial))
    report.figure("eight_over_serial", ratio, LABELS["eight_over_serial"], "x")
    report.figure("pictures_a_second", 8 / statistics.median(at_once), "8 runs at once", "1/s")
    report.figure("eight_equal_alone", int(same), "their images are those of 8 in a row" + ("" if same else ": NO"))


def six(report: Report, engine: Engine, times: int) -> None:
    """The first six columns of the comparison "Edit an image by text", together and one after the other."""
    from app.forms.presets import READY

    label = LABELS["six_together_over_sum"]
    if engine.name != "still-life":
        report.skip("six_together_over_sum", label, f"the comparison is one of still-life, and this is {engine.name}")
        return
    made = READY["edit"].make()
    steps = 4 if report.quick else STEPS
    recipes = [cell.recipe.but(steps=steps) for cell in made.comparison.cells()[1:7] if cell.recipe is not None]
    ratios, same = [], True
    for _ in report.steps(range(times), "comparisons of six"):
        alone, images = 0.0, []
        for one in recipes:
            engine.forget()
            began = time.perf_counter()
            images.append(engine.submit(one, made.images).result().images[0].tobytes())
            alone += time.perf_counter() - began
        engine.forget()
        began = time.perf_counter()
        runs = [engine.submit(one, made.images) for one in recipes]
        same = [run.result().images[0].tobytes() for run in runs] == images and same
        ratios.append((time.perf_counter() - began) / alone)
    names = ", ".join(one.methods[-1].name for one in recipes)
    report.note(f"compared: {names}")
    report.figure("six_together_over_sum", statistics.median(ratios), label, "x", "at most 0.8")
    report.figure("six_equal_alone", int(same), "their images are those of each alone" + ("" if same else ": NO"))


def diffusers(report: Report, engine: Engine, recipe: Recipe, times: int) -> None:
    """The same network through diffusers' own pipeline, in turn with ours."""
    label = LABELS["wall_over_diffusers"]
    pipe: Any = getattr(engine.backbone, "pipe", None)
    if pipe is None:
        report.skip("wall_over_diffusers", label, f"{engine.name} is no checkpoint of diffusers")
        return
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = pipe.config._name_or_path
    own = DiffusionPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    pipe = own.to(pipe.device, pipe.unet.dtype)
    pipe.set_progress_bar_config(disable=True)

    torch.set_num_threads(ALL_THREADS)  # of this thread, as a script of theirs would have

    def theirs(seed: int) -> float:
        began = time.perf_counter()
        pipe(
            recipe.prompt, num_inference_steps=STEPS, guidance_scale=SCALE, height=recipe.height, width=recipe.width,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return time.perf_counter() - began

    theirs(0)
    pairs = [(timed(engine, recipe.but(seed=i))[0], theirs(i)) for i in report.steps(range(times), "pairs")]
    report.figure("diffusers_s", statistics.median(b for _, b in pairs), "an image by diffusers", "s")
    report.figure("wall_over_diffusers", statistics.median(a / b for a, b in pairs), label, "x", "at most 1")


def start(report: Report, times: int) -> None:
    """`python app.py` from nothing until the page is served."""
    label = "start of app.py until the page is served"
    if not (ROOT / "app.py").exists():
        report.skip("start_s", label, "there is no app.py")
        return
    seconds = [served() for _ in report.steps(range(times), "starts")]
    if None in seconds:
        report.skip("start_s", label, "the page was not served within 60 s")
        return
    report.figure("start_s", statistics.median(s for s in seconds if s), label, "s", "at most 10")


def served() -> float | None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_ANALYTICS_ENABLED": "False",
            "NINE_WAYS_OUTPUT": folder, "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        began = time.perf_counter()
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env={**os.environ, **environment},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while time.perf_counter() - began < 60 and app.poll() is None:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                        if page.status == 200 and page.read():
                            return time.perf_counter() - began
                except (urllib.error.URLError, OSError):
                    time.sleep(0.02)
            return None
        finally:
            app.kill()
            app.wait()


def timed(engine: Engine, recipe: Recipe) -> tuple[float, float, Finished]:
    """Seconds from submit to the end and to the first preview, and the end. Nothing comes from memory."""
    engine.forget()
    began = time.perf_counter()
    look = 0.0
    for event in engine.submit(recipe):
        if isinstance(event, Progress) and not look and event.preview is not None:
            look = time.perf_counter() - began
        if isinstance(event, Finished):
            return time.perf_counter() - began, look, event
    raise RuntimeError(f"the run did not finish: {event}")


def bare(engine: Engine, recipe: Recipe) -> Callable[[], float]:
    """A network evaluation as the run makes it, on its own: seconds."""
    backbone = engine.backbone
    assert backbone is not None
    conds = [backbone.encode_prompt([text]) for text in (recipe.prompt, recipe.negative)]
    cond = {key: torch.cat([one[key] for one in conds]) for key in conds[0]}
    device = next(iter(cond.values())).device
    x = torch.randn(2, *backbone.latent_shape(recipe.width, recipe.height)).to(device)
    ask = Ask(x, torch.ones(2, device=device), cond)

    def call() -> float:
        began = time.perf_counter()
        with torch.no_grad():
            float(backbone.denoise(ask).sum())  # waits for the device
        return time.perf_counter() - began

    call()
    return call


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="still-life", help="a name, a folder or a Hub id (default: still-life)")
    parser.add_argument("--size", choices=("own", "sd15"), default="own",
                        help="sd15: random weights of that size, beside diffusers (bench/real_size.py)")
    parser.add_argument("--side", type=int, default=256, help="pixels of its image (default: 256)")


if __name__ == "__main__":
    main()
