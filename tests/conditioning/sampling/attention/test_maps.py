"""Attention maps to steer by: whose words they are, which of them count, and when a state is bettered."""

import pytest
import torch

from backbones.attention_sites import Site
from conditioning.sampling.attention.maps import averaged, before_steps, looked_at, nearest, places, subjects
from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, on_step, run


def site(height, width, where="up"):
    return Site("name", "cross", where, 0, 1, height, width)


def test_words_are_found_as_they_stand_in_the_prompt(tiny_net):
    cond = tiny_net.encode_prompt(["a red sphere on the red cube", "the red cube on a cube and a red sphere"])
    found = places(["a red sphere", "cube", "Red  Cube"], cond, tiny_net)
    assert found.shape == (2, 3, cond["tokens"].shape[1]) and found.dtype == torch.bool
    first, second = ([one.nonzero().flatten().tolist() for one in row] for row in found)
    assert first == [[2, 3], [7], [6, 7]]
    places_of = dict(tiny_net.words(cond["tokens"][1]))  # the last of each word
    assert second == [[*places_of["red"], *places_of["sphere"]], [3, *places_of["cube"]], [2, 3]]
    with pytest.raises(ValueError, match=r"does not say 'blue cube': give words as they stand in it\. It says 'a red"):
        places(["the blue cube"], cond, tiny_net)
    with pytest.raises(ValueError, match="does not say ''"):
        places([" "], cond, tiny_net)


@pytest.mark.parametrize(
    "text, about",
    [
        ("a red sphere, small cube on the grass", ["sphere", "cube"]),
        ("a sphere on a cube in the large red grass", ["sphere", "cube"]),
        ("a sphere under a blue sky on a floor", ["sphere"]),
        ("a cube to the left of the sphere", ["cube", "sphere"]),
        ("the large red cube", ["cube"]),
        ("on grass", ["grass"]),
        ("", []),
    ],
)
def test_what_a_prompt_is_about(tiny_net, text, about):
    """Things, not where or when they are, unless nothing else is said."""
    cond = tiny_net.encode_prompt([text])
    mask = subjects(cond, tiny_net)[0]
    words = [word for word, at in tiny_net.words(cond["tokens"][0]) if mask[at].all()]
    assert words == about and (mask.any() or not about)


def test_maps_of_one_size_are_averaged():
    sizes = (3, 4, 6), (1, 4, 6), (3, 8, 12)  # heads, height, width
    kept = [(site(h, w), torch.rand(2, heads, h * w, 5)) for heads, h, w in sizes]
    small = nearest(kept, 5)
    assert small == kept[:2] and nearest(kept, 6) == kept[2:] and nearest(kept, 100) == kept[2:] and not nearest([], 4)
    mean = averaged(small)
    assert mean.shape == (2, 4, 6, 5)
    torch.testing.assert_close(mean[1, 2, 3], (kept[0][1][1, :, 15].mean(0) + kept[1][1][1, 0, 15]) / 2)


def test_looking_gives_the_maps_of_the_network(tiny_net):
    b, x = tiny_net, torch.randn(2, 4, 16, 24)
    cond = b.encode_prompt(["a red sphere", "grass"])
    kept = run(looked_at(ask, x, 2.0, cond), b.denoise)
    assert len(kept) == 4 and {one.place for one, _ in kept} == {"down", "mid", "up"}
    for one, maps in kept:
        assert maps.shape == (2, maps.shape[1], one.height * one.width, 16) and not maps.requires_grad
        torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    leaf = x.requires_grad_()
    kept = run(looked_at(ask, leaf, 2.0, cond, object()), b.denoise)
    assert all(maps.requires_grad for _, maps in kept)


@pytest.mark.parametrize("sampler", [name for name, solver in SAMPLERS.items() if not solver.renoises])
def test_every_step_starts_from_the_bettered_state(sampler):
    """Of what it is answered with, too; and the last state is left as it is."""
    sigmas, asked, levels = [4.0, 2.0, 1.0, 0.0], [], []

    def D(x, sigma, cond):
        asked.append((float(sigma), x.clone()))
        x0 = yield from ask(x, sigma, cond)
        return x0

    def better(x, sigma, cond):
        levels.append(sigma)
        yield from ()
        return x + 100

    flow = before_steps(SAMPLERS[sampler], better)(D, torch.zeros(1, 1, 2, 2), sigmas, {}, Noise([0]))
    replied = on_step(flow, lambda step: torch.full_like(step.x, 10 * step.sigma))
    events = [event for _, event in drive([replied], lambda one: one.x * 0)]
    assert levels == [4.0, 2.0, 1.0]
    assert torch.equal(events[-1].result, torch.zeros(1, 1, 2, 2))
    firsts = [next(x for at, x in asked if at == level and x.min() >= 90) for level in levels]
    assert [one.unique().tolist() for one in firsts] == [[100.0], [120.0], [110.0]]
    assert [event.sigma for event in events if isinstance(event, Step)] == [2.0, 1.0, 0.0]
