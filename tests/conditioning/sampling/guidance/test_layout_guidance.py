"""Layout guidance: its energy, its moves, and where the solids of Still Life come to stand."""

import math

import pytest
import torch

from backbones.attention_sites import Site
from conditioning.compose import compose
from conditioning.inputs import Box
from conditioning.sampling.attention.maps import looked_at, places
from conditioning.sampling.guidance.layout_guidance import covered, deciding, outside
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, run
from samplers.schedules import native
from tests.support.networks import embedded
from tests.support.oracle import finish
from tests.support.short_runs import PROMPT, flow

GUIDED = ("cfg", {"scale": 7.5})
BOXES = [Box(0.0, 0.25, 0.5, 0.75, "a red sphere"), Box(0.5, 0.5, 1.0, 1.0, "grass")]


def site(place, side):
    return Site("name", "cross", place, 0, 1, side, side)


def test_a_cell_counts_as_far_as_the_box_covers_it():
    mask = covered(Box(0.25, 0.5, 0.625, 1.0), 2, 4)
    assert mask.tolist() == [[0, 0, 0, 0], [0, 1, 0.5, 0]]
    assert covered(Box(0, 0, 1, 1), 3, 5).eq(1).all()
    thin = covered(Box(0.41, 0.3, 0.47, 0.71), 8, 8)
    assert abs(thin.mean() - 0.06 * 0.41) < 1e-6


def test_the_energy_is_what_lies_outside():
    """0 for all attention inside, 1 for all outside; of several tokens, heads, boxes and layers the mean."""
    maps = torch.zeros(1, 2, 16, 4)
    maps[:, :, :8, 0] = 1.0  # the upper half
    maps[:, 0, 8:, 1] = maps[:, 1, :8, 1] = 1.0  # one head below, one above
    maps[..., 2:] = 0.3  # everywhere
    upper, lower = Box(0, 0, 1, 0.5), Box(0, 0.5, 1, 1)
    tokens = torch.eye(4, dtype=torch.bool)

    def energy(boxes, *rows, kept=((site("up", 4), maps),)):
        return outside(kept, boxes, torch.stack(rows)[None]).item()

    assert energy([upper], tokens[0]) == 0 and energy([lower], tokens[0]) == 1
    assert energy([upper], tokens[1]) == 0.5
    assert abs(energy([upper], tokens[2]) - 0.25) < 1e-6 and abs(energy([upper], tokens[0] | tokens[2]) - 0.125) < 1e-6
    assert energy([upper, lower], tokens[0], tokens[0]) == 0.5
    two = ((site("mid", 4), maps), (site("up", 4), maps.flip(2)))
    assert energy([upper], tokens[0], kept=two) == 0.5


def test_a_word_that_no_cell_looks_at_has_a_gradient_that_is_a_number():
    """Attention underflows to exact zeros where a word is looked at nowhere: then 0 / 0 moved the state to NaN."""
    scores = torch.randn(1, 1, 16, 4)
    scores[..., 2] = -1e4
    scores.requires_grad_()
    tokens = torch.tensor([[[False, True, True, False]]])
    energy = outside([(site("up", 4), scores.softmax(-1))], BOXES[:1], tokens)
    (slope,) = torch.autograd.grad(energy.sum(), scores)
    assert energy.isfinite().all() and slope.isfinite().all() and slope.abs().max() > 0


def test_the_mid_block_and_one_size_of_the_decoder_decide():
    kept = [(site(place, side), None) for place, side in
            (("down", 16), ("mid", 8), ("up", 16), ("up", 16), ("up", 32), ("up", 64))]  # fmt: skip
    assert deciding(kept, 16) == [kept[1], kept[2], kept[3]] and deciding(kept, 64) == [kept[1], kept[5]]


def moved(b, x, sigma, **knobs):
    """x as the first step of a run starts from it."""
    seen = []

    def noting(D, x, sigmas, cond, noise):
        seen.append(x)
        yield from ()
        return x

    stack = [("layout_guidance", {"boxes": BOXES, "end": 1.0, **knobs})]
    _, solver, _ = compose(stack, noting, sigmas=[sigma, 0.0], backbone=b)
    cond = b.encode_prompt([PROMPT] * len(x))
    run(solver(ask, x, [sigma, 0.0], cond, Noise([0] * len(x))), b.denoise)
    return seen[0]


def energies(b, x, sigma):
    cond = b.encode_prompt([PROMPT] * len(x))
    kept = run(looked_at(ask, x, sigma, cond), b.denoise)
    return outside(deciding(kept, 16), BOXES, places([box.text for box in BOXES], cond, b))


def test_a_move_is_the_gradient_s(tiny_net):
    """sigma^2 strength grad E, seen in what a small one does to E; larger ones lower it further."""
    b, sigma = tiny_net, 3.0
    x = sigma * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    before, strength = energies(b, x, sigma), 0.5
    to = moved(b, x, sigma, strength=strength, repeats=1)
    after = energies(b, to, sigma)
    distance = (to - x).square().flatten(1).sum(1) / (sigma**2 * strength)  # |grad E|^2 sigma^2 strength
    assert (after < before).all() and ((before - after) / distance - 1).abs().max() < 0.1
    assert (energies(b, moved(b, x, sigma, strength=50.0, repeats=3), sigma) < after).all()


@pytest.mark.parametrize("knobs, looks", [({"threshold": 0.0}, 5 * 2), ({"threshold": 1.0}, 2)])
def test_it_moves_so_often_or_until_it_is_enough(tiny_net, knobs, looks):
    driver = Driver(tiny_net.denoise)
    driver.add(0, flow(tiny_net, [GUIDED, ("layout_guidance", {"boxes": BOXES, "end": 0.5, **knobs})], [1, 2]))
    finish(driver)
    assert driver.nfe == 4 + looks and driver.rows == 4 * 4 + 2 * looks


def test_rows_that_are_well_stay_as_they_are(tiny_net):
    x = 3.0 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    low, high = sorted(energies(tiny_net, x, 3.0).tolist())
    still = energies(tiny_net, x, 3.0) < high
    to = moved(tiny_net, x, 3.0, threshold=(low + high) / 2, repeats=1)
    assert torch.equal(to[still], x[still]) and not torch.equal(to[~still], x[~still])


@pytest.mark.parametrize("change", [{"strength": 0.0}, {"end": 0.0}, {"repeats": 0}, {"boxes": []}])
def test_nothing_to_do_is_as_without(tiny_net, change):
    stack = [GUIDED, ("layout_guidance", {"boxes": BOXES, **change})]
    assert torch.equal(run(flow(tiny_net, stack), tiny_net.denoise), run(flow(tiny_net, [GUIDED]), tiny_net.denoise))


def test_a_box_whose_words_the_prompt_does_not_say(tiny_net):
    stack = [("layout_guidance", {"boxes": [Box(0, 0, 1, 1, "blue cube")]})]
    with pytest.raises(ValueError, match="the prompt does not say 'blue cube'"):
        run(flow(tiny_net, stack), tiny_net.denoise)


# ---- Still Life ----------------------------------------------------------------------------------------------


def overlap(a, b):
    """Intersection over union of (left, top, right, bottom)."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    area = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    both = max(w, 0) * max(h, 0)
    return both / (sum(area) - both)


@pytest.mark.slow
def test_solids_come_to_stand_in_their_boxes():
    """The boxes of rendered scenes: IoU at least twice that without guidance, in images of 96 pixels."""
    from world.captions import parse
    from world.evaluator import check, read
    from world.render import render
    from world.scene import draw

    life, count = embedded("still-life"), 4
    scenes = (draw("test", n) for n in range(1000))
    scenes = [s for s in scenes if len(s.solids) == 2 and s.solids[0].shape != s.solids[1].shape][:count]
    where = render(scenes, 128).boxes.tolist()
    sigmas, null = native(6, life.sigmas), life.encode_prompt([""])

    def mean_overlap(guided):
        driver = Driver(life.denoise)
        for n, (scene, boxes) in enumerate(zip(scenes, where)):
            names = [f"{one.colour} {one.shape}" for one in scene.solids]
            given = [Box(*box, text=name) for box, name in zip(boxes, names)]
            moves = [("layout_guidance", {"boxes": given, "repeats": 2})]
            stack = [("cfg", {"scale": 4.0}), *(moves if guided else [])]
            D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=life)
            noise = Noise([n])
            x = noise(torch.empty(1, *life.latent_shape(96, 96))) * math.sqrt(1 + sigmas[0] ** 2)
            text = f"a {names[0]} and a {names[1]} on {scene.ground}"
            driver.add(n, solver(D, x, sigmas, life.encode_prompt([text]), noise))
            claims.append(parse(text))
        ends = finish(driver)
        images = life.decode(torch.cat([ends[n] for n in range(count)]))
        total = []
        for reading, said, boxes in zip(read(images), claims, where):
            verdict = check(reading, said)
            for there, k, box in zip(verdict.present, verdict.match, boxes):
                total.append(overlap(reading.solids[k].box, box) if there and k is not None else 0.0)
        return sum(total) / len(total)

    claims = []
    plain = mean_overlap(False)
    assert mean_overlap(True) > max(2 * plain, 0.15)
