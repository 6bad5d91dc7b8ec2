"""python -m training.export: the trained networks as a Stable Diffusion folder, `backbones/still_life_next/`.

Averaged weights in half precision, in shards below 9 MB, readable by `diffusers.DiffusionPipeline.from_pretrained`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from training.autoencoder import NEXT, settled_autoencoder
from training.denoiser import Network, scheduler
from training.loop import averaged_network
from training.text import build_tokenizer


def export(folder: Path, denoiser: str) -> None:
    """Write the pipeline; `denoiser` names the training run whose averaged weights are shipped."""
    network = Network()
    network.load_state_dict(averaged_network(denoiser))
    autoencoder = settled_autoencoder()
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=network.text,
        tokenizer=build_tokenizer(),
        unet=network.unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in ("text_encoder", "unet", "vae"):  # what else was trained lies beside them
        for old in (folder / part).glob("*.safetensors*"):
            old.unlink()
    pipeline.to(dtype=torch.float16).save_pretrained(folder, max_shard_size="9MB", safe_serialization=True)
    # transformers opens weights in the dtype its config names, diffusers in float32: without this they would differ.
    _configured(folder / "text_encoder", dtype="float32")
    _configured(folder / "vae")
    sizes = [p.stat().st_size for p in folder.rglob("*.safetensors")]
    print(f"{folder}: {len(sizes)} weight files, {sum(sizes) / 1e6:.1f} MB, the largest {max(sizes) / 1e6:.1f} MB")


def _configured(part: Path, **more: str) -> None:
    """More in the config of a part, and nothing of where on this machine it was read from."""
    config = part / "config.json"
    settings = json.loads(config.read_text()) | more
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--denoiser", default="denoiser", help="training run of the text encoder and UNet")
    parser.add_argument("--to", type=Path, default=NEXT)
    args = parser.parse_args()
    export(args.to, args.denoiser)


if __name__ == "__main__":
    main()
