"""Renders of a split on disk, as plain arrays that training reads into memory.

    python -m training.data --split train --scenes 24000

writes `training/runs/data/<split>/{rgb,instances}.npy`: images (N, 128, 128, 3) uint8 and instance maps (N, 32, 32)
int8 (number of the solid, -1 ground, -2 sky). Scene n is `world.scene.draw(split, n)`; nothing else is stored.
Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from common.image_bytes import to_pixels
from world.render import render
from world.scene import SPLITS, Scene, draw

ROOT = Path(__file__).parent / "runs" / "data"
SIZE, MAP, CHUNK = 128, 32, 64


def folder(split: str) -> Path:
    return ROOT / split


def images(split: str) -> np.ndarray:
    """(N, 128, 128, 3) uint8, as far as rendered. Raises FileNotFoundError with the command to run."""
    return _open(split, "rgb")


def instances(split: str) -> np.ndarray:
    """(N, 32, 32) int8."""
    return _open(split, "instances")


def _open(split: str, name: str) -> np.ndarray:
    path = folder(split) / f"{name}.npy"
    if not path.exists():
        raise FileNotFoundError(f"No renders of {split!r} yet: run `python -m training.data --split {split}` first.")
    done = int((folder(split) / "done").read_text())
    return np.load(path)[:done]  # in memory: reading at random from a disk is what would set the pace


def _drawn(split: str, start: int, stop: int) -> list[Scene]:
    return [draw(split, n) for n in range(start, stop)]


def _rendered(scenes: list[Scene], device: str) -> tuple[np.ndarray, np.ndarray]:
    out = render(scenes, SIZE, device)
    rgb = to_pixels(out.rgb)
    step = SIZE // MAP
    return rgb, out.instances[:, step // 2 :: step, step // 2 :: step].to(torch.int8).cpu().numpy()


def _chunk(split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    torch.set_num_threads(1)
    return _rendered(_drawn(split, start, stop), "cpu")


def prepare(split: str, scenes: int, workers: int) -> None:
    """Render scenes 0, ..., scenes - 1 that are not there yet."""
    here = folder(split)
    here.mkdir(parents=True, exist_ok=True)
    arrays = {
        "rgb": ((scenes, SIZE, SIZE, 3), np.uint8),
        "instances": ((scenes, MAP, MAP), np.int8),
    }
    done = int((here / "done").read_text()) if (here / "done").exists() else 0
    maps = {}
    for name, (shape, dtype) in arrays.items():
        path = here / f"{name}.npy"
        old = np.load(path, mmap_mode="r") if path.exists() else None
        if old is None or len(old) < scenes:
            new = np.lib.format.open_memmap(path.with_suffix(".new.npy"), "w+", dtype, shape)
            if old is not None:
                new[:done] = old[:done]
            new.flush()
            path.with_suffix(".new.npy").replace(path)
        maps[name] = np.load(path, mmap_mode="r+")
    on_gpu = torch.cuda.is_available()  # then the processes only draw scenes, and this one renders them there
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        starts = range(done, scenes, CHUNK)
        work = _drawn if on_gpu else _chunk
        jobs = [pool.submit(work, split, s, min(s + CHUNK, scenes)) for s in starts]
        for start, job in zip(starts, jobs, strict=True):
            rgb, ids = _rendered(job.result(), "cuda") if on_gpu else job.result()
            maps["rgb"][start : start + len(rgb)] = rgb
            maps["instances"][start : start + len(ids)] = ids
            (here / "done").write_text(str(start + len(rgb)))
            print(f"\r{split}: {start + len(rgb)} of {scenes} scenes", end="", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.data", description=__doc__.split("\n\n")[0])
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    prepare(args.split, args.scenes, args.workers)


if __name__ == "__main__":
    main()
