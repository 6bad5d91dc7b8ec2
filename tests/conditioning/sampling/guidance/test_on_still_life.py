"""Energies and the classifier do on Still Life what they are for: by their own measure, and by one that they never saw.

What an image shows is read by the evaluator, a network of other targets than those that guide, or by the renderer.
"""

from types import SimpleNamespace

import pytest
import torch

from conditioning.compose import compose
from conditioning.energies import ENERGIES
from fidelity.distances import box_iou
from samplers import SAMPLERS
from samplers.flow import Noise, run
from samplers.schedules import native
from tests.support.networks import embedded
from world.evaluator import read
from world.render import render
from world.scene import Scene, Solid

pytestmark = pytest.mark.slow

STEPS = 6
SCENES = (  # each solid well away from the middle, where a network likes to put it
    Scene((Solid("sphere", "red", "large", "matte", -1.4, 0.3),), "grass", "day"),
    Scene((Solid("cylinder", "blue", "large", "matte", 1.4, 0.0),), "snow", "overcast"),
    Scene((Solid("cube", "green", "large", "matte", -1.2, -0.6),), "sand", "day"),
)
PROMPTS = tuple(f"a {scene.solids[0].colour} {scene.solids[0].shape} on {scene.ground}" for scene in SCENES)
SOLIDS = tuple(prompt.split(" on ")[0] for prompt in PROMPTS)
TEXT = "a large red cube on snow at night"


@pytest.fixture(scope="module")
def still_life():
    return embedded("still-life")


@pytest.fixture(scope="module")
def ground_truth():
    out = render(list(SCENES), 128)
    three = {"depth map": out.near, "edge map": out.edges.float()}
    return SimpleNamespace(
        rgb=out.rgb.clone(),
        boxes=[tuple(boxes[0].tolist()) for boxes in out.boxes],
        maps={name: one[:, None].expand(-1, 3, -1, -1) for name, one in three.items()},
    )


def made(net, prompts, *stack, steps=STEPS):
    """An image of each prompt, its seed its place; guided by 4."""
    n, sigmas = len(prompts), native(steps, net.sigmas)
    null, cond = net.encode_prompt([""] * n), net.encode_prompt(prompts)
    whole = [("cfg", {"scale": 4.0}), *stack]
    D, sampler, _ = compose(whole, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=net)
    noise = Noise(range(n))
    x = sigmas[0] * noise.child("start")(torch.empty(n, *net.latent_shape(128, 128)))
    return net.decode(run(sampler(D, x, sigmas, cond, noise), net.denoise)).detach()


@pytest.fixture(scope="module")
def plain(still_life):
    return made(still_life, PROMPTS)


@pytest.fixture(scope="module")
def plain_solids(still_life):
    """Of prompts that say nothing of ground and light."""
    return made(still_life, SOLIDS)


def overlap(images, boxes):
    """Mean over images of the best IoU of a solid that the judge sees with where one was to be."""
    best = [max((box_iou(s.box, box) for s in seen.solids), default=0) for seen, box in zip(read(images), boxes)]
    return sum(best) / len(best)


@pytest.mark.parametrize(
    "name, strength", [("depth", 0.5), ("depth map", 0.5), ("shapes", 0.5), ("edges", 0.2), ("edge map", 0.5)]
)
def test_solids_come_where_those_of_the_target_are(name, strength, still_life, ground_truth, plain):
    """The step of edges is short: in so few, a long one leaves edges of its own, and moves a solid less far."""
    count = 2 if name == "edges" else 1
    target, plain = ground_truth.maps.get(name, ground_truth.rgb)[:count], plain[:count]
    energy = ENERGIES[name](target, still_life)
    knobs = {"energy": name, "target": target, "strength": strength}
    got = made(still_life, PROMPTS[:count], ("energy_guidance", knobs))
    assert (energy(got) < 0.8 * energy(plain)).all()
    assert overlap(got, ground_truth.boxes) > overlap(plain, ground_truth.boxes) + 0.1


@pytest.mark.parametrize("name, strength", [("colours", 0.5), ("style", 0.3)])
def test_images_come_in_the_colours_of_the_target(name, strength, still_life, ground_truth, plain_solids):
    """Those of the scene before, of which the prompt says nothing: mean and deviation of each channel."""
    target = ground_truth.rgb.roll(1, 0)[:2]
    energy = ENERGIES[name](target, still_life)
    knobs = {"energy": name, "target": target, "strength": strength}
    got, plain_solids = made(still_life, SOLIDS[:2], ("energy_guidance", knobs)), plain_solids[:2]
    assert energy(got).mean() < 0.8 * energy(plain_solids).mean()
    off = [(palette(images) - palette(target)).abs().mean() for images in (got, plain_solids)]
    assert off[0] < 0.9 * off[1]


def palette(images):
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], 1)


def correct(images):
    """Of what TEXT says, how much the judge sees, of 4 for each image."""
    count = 0
    for seen in read(images):
        solids = [(s.colour == "red", s.shape == "cube") for s in seen.solids]
        count += max((sum(one) for one in solids), default=0) + (seen.ground == "snow") + (seen.sky == "night")
    return count


def test_a_text_is_followed_by_a_network_that_is_told_nothing(still_life):
    energy = ENERGIES["text"](TEXT, still_life)
    plain = made(still_life, [""] * 2)
    got = made(still_life, [""] * 2, ("energy_guidance", {"energy": "text", "words": TEXT}))
    assert energy(got).mean() < energy(plain).mean() - 0.1
    assert correct(got) >= correct(plain) + 3


def test_steps_backward_bring_the_estimate_nearer_still(still_life, ground_truth, plain):
    target = ground_truth.rgb[:1]
    energy = ENERGIES["depth"](target, still_life)
    knobs = {"energy": "depth", "target": target, "strength": 0.0, "backward": 4}
    got = made(still_life, PROMPTS[:1], ("energy_guidance", knobs))
    assert (energy(got) < 0.8 * energy(plain[:1])).all()


def test_the_classifier_is_followed_by_a_network_that_is_told_nothing(still_life):
    classifier, words = still_life.classifier, "red cube, snow, night"
    plain = made(still_life, [""] * 2)
    got = made(still_life, [""] * 2, ("classifier_guidance", {"asked": words}))
    clean = torch.full((2,), 0.1)
    said = [classifier.log_p(still_life.encode_image(p), clean, classifier.parse(words)).mean() for p in (got, plain)]
    assert said[0] > said[1] + 1.0
    assert correct(got) >= correct(plain) + 4
