"""bench.autoencoder: its figures tell a good autoencoder from a bad one."""

import torch

from bench import autoencoder


class Blur:
    """A stand-in for a backbone: its autoencoder halves the image."""

    def encode_image(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels, 2)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents, scale_factor=2.0)


def test_reconstructions_have_eight_bits_and_side_by_side_shows_both(tmp_path):
    images = autoencoder.renders(autoencoder.FIRST, 3)
    decoded = autoencoder.reconstructed(Blur(), images)
    assert decoded.shape == images.shape == (3, 3, 128, 128)
    assert torch.equal(decoded, (decoded * 255).round() / 255)
    from PIL import Image

    autoencoder.side_by_side(images, decoded, tmp_path / "side.png")
    assert Image.open(tmp_path / "side.png").size == (3 * 3 * 128, 3 * 2 * 128)
