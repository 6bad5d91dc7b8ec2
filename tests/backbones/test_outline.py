"""What is known of a checkpoint without its weights is what the loaded backbone says."""

import shutil
import subprocess
import sys

import pytest
import torch
from diffusers.schedulers import DDPMScheduler

import backbones
from backbones.checkpoint import CheckpointError
from backbones.coordinates import alpha_bars
from backbones.embedded import STILL_LIFE
from backbones.outline import outline


@pytest.mark.parametrize("id", ["still-life", "still-life-pixels"])
def test_an_outline_is_what_the_loaded_backbone_says(id):
    one, loaded = outline(id), backbones.load(id)
    for name in ("id", "offers", "default_size", "size_multiple"):
        assert getattr(one, name) == getattr(loaded, name), name
    assert torch.equal(one.sigmas, loaded.sigmas)
    size = 3 * one.size_multiple
    assert one.latent_shape(size, 2 * size) == loaded.latent_shape(size, 2 * size)
    text = loaded.encode_prompt(["a red cube"]).get("text")
    assert one.features == 0 if text is None else (one.tokens, one.features) == text.shape[1:]


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("more", [{}, {"rescale_betas_zero_snr": True}, {"trained_betas": [0.1, 0.2, 0.3]}])
def test_alpha_bars_are_those_of_diffusers_bit_for_bit(schedule, more):
    config = {"beta_schedule": schedule, "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000, **more}
    assert torch.equal(alpha_bars(config), DDPMScheduler.from_config(config).alphas_cumprod)


def test_no_weights_and_no_diffusers_are_needed():
    code = "import sys; from backbones.outline import outline; outline('still-life'); print('diffusers' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        outline(str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="not been fetched"):
        outline("nobody/nothing-of-this-name")
    shutil.copytree(STILL_LIFE, tmp_path / "broken")
    (tmp_path / "broken" / "unet" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"unet/config.json lacks sample_size, "):
        outline(str(tmp_path / "broken"))
