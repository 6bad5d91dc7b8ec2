"""Maps of a split's scenes, which the conditions of ControlNets are: rendered ground truth, made once and kept.

    python -m training.maps --split train --scenes 8000

writes `training/runs/data/<split>/maps.npy`, (N, 2, 128, 128) uint8: nearness (255 at the nearest point, 0 in the sky)
and edges (255 on outlines and creases). Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from common.image_bytes import to_uint8
from training import data
from world.render import render
from world.scene import SPLITS, draw

NAMES = ("depth", "edges")
CHUNK = 100


def maps(split: str, scenes: int) -> np.ndarray:
    """Maps of scenes 0, ..., scenes - 1, (scenes, 2, 128, 128) uint8 on disk; renders what is missing."""
    here = data.folder(split)
    here.mkdir(parents=True, exist_ok=True)
    path, mark = here / "maps.npy", here / "maps_done"
    done = int(mark.read_text()) if mark.exists() else 0
    shape = (len(NAMES), data.SIZE, data.SIZE)
    if not path.exists() or len(np.load(path, mmap_mode="r")) < scenes:
        grown = np.lib.format.open_memmap(path.with_suffix(".new.npy"), "w+", np.uint8, (scenes, *shape))
        grown[:done] = np.load(path, mmap_mode="r")[:done] if done else 0
        grown.flush()
        path.with_suffix(".new.npy").replace(path)
    stored = np.load(path, mmap_mode="r+")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for start in range(done, scenes, CHUNK):
        stop = min(start + CHUNK, scenes)
        out = render([draw(split, n) for n in range(start, stop)], data.SIZE, device)
        stored[start:stop] = to_uint8(torch.stack([out.near, out.edges.float()], 1))
        mark.write_text(str(stop))
        print(f"\rmaps of {split}: {stop} of {scenes} scenes", end="", flush=True)
    return np.load(path, mmap_mode="r")[:scenes]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.maps", description=__doc__.split("\n\n")[0])
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--scenes", type=int, default=8_000)
    args = parser.parse_args()
    maps(args.split, args.scenes)
    print()


if __name__ == "__main__":
    main()
