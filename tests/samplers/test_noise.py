import pytest
import torch

from samplers.noise import Noise

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
