from pathlib import Path

import pytest

from backbones import stable_diffusion
from backbones.latent import LatentBackbone
from tests.support import tiny


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """kind -> the folder of a tiny checkpoint; made once, not to be changed."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            autoencoder = {"flow": "tiny", "zero": "dc"}.get(kind, "kl")
            made[kind] = tiny.save(tmp_path_factory.mktemp(kind), kind, autoencoder)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny_unet(checkpoints):
    """kind -> its backbone, in torch on the CPU."""
    made: dict[str, LatentBackbone] = {}

    def backbone(kind: str) -> LatentBackbone:
        if kind not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NINE_WAYS_ENGINE", "torch")
                patch.setenv("NINE_WAYS_DEVICE", "cpu")
                made[kind] = stable_diffusion.load(str(checkpoints(kind)))
        return made[kind]

    return backbone
