from itertools import pairwise

import pytest
import torch

from samplers.noise import Noise, varied

like = torch.empty(3, 4, 8, 8)


def test_a_row_depends_on_its_seed_alone():
    both, alone = Noise([5, 6, 7]), Noise([6])
    for _ in range(3):
        assert torch.equal(both(like)[1], alone(like[:1])[0])


def test_it_is_the_number_other_tools_draw():
    theirs = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(42))
    assert torch.equal(Noise([42])(like[:1]), theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_it_is_the_same_in_every_dtype(dtype):
    drawn = Noise([1, 2, 3])(like.to(dtype))
    assert drawn.dtype == dtype and torch.equal(drawn, Noise([1, 2, 3])(like).to(dtype))


def test_children_are_streams_of_their_own():
    noise = Noise([1, 2, 3])
    before = noise.child("repaint")(like)
    noise(like)
    assert torch.equal(before, noise.child("repaint")(like))
    others = [noise.child("restart")(like), noise.child("repaint").child("repaint")(like), Noise([1, 2, 3])(like)]
    assert all((before - other).abs().mean() > 0.5 for other in others)
    assert torch.equal(Noise([2]).child("repaint")(like[:1])[0], before[1])


def test_rows_share_their_streams():
    noise, again = Noise([1, 2, 3]), Noise([1, 2, 3])
    assert noise.rows(torch.tensor([True, False, True])).seeds == (1, 3)
    part = noise.rows([2, 0])
    assert len(part) == 2 and part.seeds == (3, 1)
    again(like)
    assert torch.equal(part(like[:2])[0], Noise([3])(like[:1])[0])
    assert torch.equal(noise.rows(slice(0, 1))(like[:1])[0], again(like)[0])  # the second draw of seed 1


def test_it_is_standard_normal():
    drawn = Noise(range(200))(torch.empty(200, 4, 16, 16))
    assert abs(float(drawn.mean())) < 0.01 and abs(float(drawn.std()) - 1) < 0.01


def test_it_refuses_another_number_of_rows():
    with pytest.raises(ValueError, match="noise of 2 seeds was asked for 3 rows"):
        Noise([1, 2])(like)


def a_pair(rows=64):
    """Two noises of a latent of this many rows."""
    shape = torch.empty(2, 4, rows, 16)
    return Noise([1, 2])(shape), Noise([3, 4])(shape)


def test_a_variation_goes_from_the_one_noise_to_the_other():
    one, other = a_pair()
    assert torch.allclose(varied(one, other, 0.0), one, atol=1e-5)
    assert torch.allclose(varied(one, other, 1.0), other, atol=1e-5)
    away = [(varied(one, other, t / 10) - one).square().mean() for t in range(11)]
    assert all(a < b for a, b in pairwise(away))
    assert torch.allclose(varied(one, one, 0.3), one, atol=1e-5)  # the same seed twice


def test_a_variation_keeps_the_length_of_columns_and_the_angle_is_the_strength():
    one, other = (x / x.norm(dim=-2, keepdim=True) for x in a_pair())
    whole = (one * other).sum(-2).acos()
    for strength in (0.1, 0.5, 0.8):
        mixed = varied(one, other, strength)
        assert torch.allclose(mixed.norm(dim=-2), torch.ones(2, 4, 16), atol=1e-5)
        assert torch.allclose((one * mixed).sum(-2).clamp(-1, 1).acos(), strength * whole, atol=1e-3)


def test_a_variation_is_as_strong_noise_as_any_and_an_image_varies_alone():
    one, other = a_pair()
    for strength in (0.2, 0.5):
        assert varied(one, other, strength).var() == pytest.approx(1, abs=0.03)
    both = varied(one, other, 0.4)
    assert torch.equal(both[1:], varied(one[1:], other[1:], 0.4))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_variation_of_a_flat_image_stays_in_bounds(rows):
    """Columns of a number or two are often parallel or opposite: there is no arc between them, or any."""
    shape = torch.empty(1, 4, rows, 4000)
    one, other = Noise([1])(shape), Noise([2])(shape)
    for pair in ((one, other), (one, -one), (one, torch.zeros_like(one))):
        mixed = varied(*pair, 0.5)
        longest = torch.maximum(*(x.norm(dim=-2) for x in pair))
        assert mixed.isfinite().all() and (mixed.norm(dim=-2) <= longest * 1.001 + 1e-6).all()
