"""Decoding in tiles: what an image is then, and what happens where the memory does not suffice."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from backbones import autoencoder
from backbones.tiled_decoding import decoded_in_tiles, spans
from tests.support import tiny

FACTOR = 2


def local(latents):
    """A decoder that looks three pixels far."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 4, 7, 7, generator=draw) / 14
    return F.conv2d(F.interpolate(latents, scale_factor=FACTOR, mode="nearest"), weights, padding=3)


def drawn(h, w):
    return torch.randn(1, 4, h, w, generator=torch.Generator().manual_seed(h * w))


@pytest.mark.parametrize("length", range(1, 70))
def test_tiles_cover_everything_overlap_and_are_no_larger_than_asked(length):
    some = list(spans(length, 16))
    assert some[0][0] == 0 and some[-1][1] == length and all(0 < end - start <= 16 for start, end in some)
    assert all(before[1] - after[0] >= 4 for before, after in pairwise(some))
    assert len(set(some)) == len(some) and (length > 16 or len(some) == 1)


@pytest.mark.parametrize("h, w", [(40, 40), (16, 61), (70, 9), (23, 31)])
def test_away_from_the_seams_of_a_local_decoder_it_is_the_whole_and_at_them_almost(h, w):
    latents = drawn(h, w)
    whole, tiled = local(latents), decoded_in_tiles(local, latents, FACTOR, 16)
    assert tiled.shape == whole.shape
    wrong = (tiled - whole).abs() > 1e-4 * whole.abs().max()
    assert wrong.float().mean() < 0.35  # lines at which a tile saw the zeros beside it
    assert (tiled - whole).abs().max() < 0.5 * whole.abs().max()
    flat = torch.ones(1, 3, h, w)
    same = decoded_in_tiles(lambda z: F.interpolate(z, scale_factor=FACTOR), flat, FACTOR, 16)
    torch.testing.assert_close(same, torch.ones_like(same))


def test_where_a_tile_ends_its_own_edge_counts_for_nothing():
    """Seams would be seen as steps: the image is as smooth across them as elsewhere."""
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    biased = iter(range(100))
    tiled = decoded_in_tiles(lambda z: F.interpolate(z, scale_factor=1) + 0.02 * (next(biased) % 2), ramp, 1, 16)
    assert tiled.diff(dim=-1).abs().max() < 1 / 63 + 0.02 / 3


@pytest.fixture
def images(monkeypatch):
    """Whole up to 64 pixels, in tiles of at least 16."""
    monkeypatch.setattr(autoencoder, "WHOLE", 64)
    monkeypatch.setattr(autoencoder, "SMALLEST", 16)
    torch.manual_seed(0)
    return autoencoder.autoencoder(tiny.vae().eval().requires_grad_(False))


def test_out_of_memory_makes_tiles_and_they_stay_for_some_time(images, monkeypatch, caplog):
    latents = torch.randn(1, 4, 30, 30)
    whole, sizes = images._raw_decoded, []

    def raw(row):
        sizes.append(row.shape[-1])
        if row.shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(row)

    monkeypatch.setattr(images, "_raw_decoded", raw)
    with torch.no_grad():
        first = images.decode(latents)
        assert first.shape == (1, 3, 60, 60) and first.isfinite().all()
        assert sizes[0] == 30 and set(sizes[1:]) == {15} and "tiles of 30 pixels" in caplog.text
        sizes.clear()
        assert torch.equal(images.decode(latents), first) and set(sizes) == {15}
        assert images.decode(latents[..., :10, :10]).shape[-1] == 20 and sizes[-1] == 10
        monkeypatch.setattr(images, "_raw_decoded", lambda row: (sizes.append(row.shape[-1]), whole(row))[1])
        for _ in range(4 * autoencoder.PATIENCE):  # the memory suffices again
            sizes.clear()
            last = images.decode(latents)
        assert sizes == [30] and torch.equal(last, (whole(images.unscaled(latents)) / 2 + 0.5).clamp(0, 1))


def test_memory_that_suffices_for_no_tile_and_other_errors_are_told(images, monkeypatch):
    def raw(row):
        raise RuntimeError(words)

    monkeypatch.setattr(images, "_raw_decoded", raw)
    for words in ("out of memory", "something else"):
        with torch.no_grad(), pytest.raises(RuntimeError, match=words):
            images.decode(torch.randn(1, 4, 30, 30))


def test_a_large_image_is_decoded_in_tiles_and_a_small_one_whole(images, monkeypatch):
    sizes, whole = [], images._raw_decoded
    monkeypatch.setattr(images, "_raw_decoded", lambda row: (sizes.append(tuple(row.shape[-2:])), whole(row))[1])
    with torch.no_grad():
        images.decode(torch.randn(1, 4, 32, 32))
        assert sizes == [(32, 32)]
        images.decode(torch.randn(1, 4, 40, 90))
    assert len(sizes) > 4 and set(sizes[1:]) == {(32, 32)}
