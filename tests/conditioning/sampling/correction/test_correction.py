"""Replacement, RePaint, ILVR, blended latent diffusion and DiffEdit."""

import math
from itertools import pairwise
from zlib import crc32

import pytest
import torch
from diffusers import RePaintScheduler

from backbones.exact import Mixture
from conditioning.compose import compose
from conditioning.sampling.correction.blended_latent import blended_latent
from conditioning.sampling.correction.diffedit import diffedit, edit_mask
from conditioning.sampling.correction.ilvr import ilvr, phi
from conditioning.sampling.correction.repaint import jumps, repaint
from conditioning.sampling.correction.replacement import langevin, replacement
from conditioning.sampling.inversion.encoding import ddim_encode
from conditioning.sampling.inversion.sdedit import sdedit
from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, run
from samplers.schedules import karras
from tests.support.oracle import KINDS, mixture, start

SHAPE = (2, 4, 4)
oracle = mixture(shape=SHAPE)
sigmas = karras(12, 0.05, 20.0)
known = oracle.samples(2, seed=5)
HALF = (torch.arange(4) < 2).expand(2, 1, 4, 4)  # new on the left
ALL, NONE = torch.ones_like(HALF), torch.zeros_like(HALF)
cond, other = oracle.encode_prompt(["word0", "word1"]), oracle.encode_prompt(["word2", "word0"])
euler, ancestral = SAMPLERS["euler"], SAMPLERS["ancestral"]


def events(sampler, cond=cond, levels=sigmas, seeds=(1, 2)):
    x = start(list(seeds), levels[0], SHAPE)
    return [e for _, e in drive([sampler(ask, x, levels, cond, Noise(seeds))], oracle.denoise)]


def result(sampler, **kw):
    return events(sampler, **kw)[-1].result


INPAINTERS = {
    "replacement": lambda mask, sampler=euler, **kw: replacement(sampler, known, mask, **{"corrector": 0, **kw}),
    "with corrector": lambda mask, sampler=euler: replacement(sampler, known, mask),
    "repaint": lambda mask, sampler=euler: repaint(sampler, known, mask, 3, 2),
    "blended": lambda mask, sampler=euler: blended_latent(sampler, known, mask),
    "diffedit": lambda mask, sampler=euler: diffedit(sampler, known, other, ask, mask),
}
inpainters = pytest.mark.parametrize("make", INPAINTERS.values(), ids=INPAINTERS.keys())


# ---- what all inpainting promises ----------------------------------------------------------------------------


@inpainters
@pytest.mark.parametrize("sampler", map(SAMPLERS.get, KINDS), ids=KINDS)
def test_what_was_not_painted_over_is_the_known_image(make, sampler):
    got = result(make(HALF, sampler))
    assert torch.equal(got[..., 2:], known[..., 2:]) and (got - known)[..., :2].abs().max() > 0.1
    assert torch.equal(result(make(NONE, sampler)), known)


@pytest.mark.parametrize(
    "make", [*INPAINTERS.values(), lambda mask: sdedit(euler, known, mask)], ids=[*INPAINTERS, "sdedit"]
)
def test_a_feathered_mask_lays_what_was_made_over_the_known_image_as_strongly_as_it_says(make):
    """And what is made there is made as with a hard mask, with all the noise of its level."""
    soft = torch.tensor([1.0, 0.75, 0.25, 0.0]).expand(2, 1, 4, 4)
    hard, got = result(make(soft > 0)), result(make(soft))
    torch.testing.assert_close(got, known + soft * (hard - known))
    assert (hard - known)[..., 1:3].abs().max() > 0.05 and torch.equal(got[..., 3], known[..., 3])
    assert torch.equal(result(make((soft > 0).double())), hard)


@pytest.mark.parametrize("make", [INPAINTERS["replacement"], lambda mask: repaint(euler, known, mask, 3, 1)])
def test_where_all_is_painted_over_it_is_the_sampler(make):
    assert torch.equal(result(make(ALL)), result(euler))


@pytest.mark.parametrize("make", list(INPAINTERS.values())[:4], ids=list(INPAINTERS)[:4])
def test_the_state_outside_is_the_known_one_noised_to_the_level(make):
    for step in (e for e in events(make(HALF)) if isinstance(e, Step) and e.sigma > 1):
        away = (step.x - known)[..., 2:].std() / step.sigma
        assert 0.6 < away < 1.5


# ---- replacement ---------------------------------------------------------------------------------------------

GAUSS = Mixture(
    torch.ones(1),
    torch.zeros(1, 1, 1, 2),
    torch.tensor([[[1.0, 0.9], [0.9, 1.0]]]),
)


class One:
    """A stream for all rows: thousands of generators take their time."""

    def __init__(self, seed=2):
        self.stream = torch.Generator().manual_seed(seed)

    def __call__(self, like):
        return torch.randn(like.shape, generator=self.stream, dtype=like.dtype)

    def child(self, name):
        return One(crc32(name.encode()))


def inpainted(make, levels, rows=1500):
    """Mean and deviation of the second number where the first is known to be 1: exactly 0.9 and 0.436."""
    one, new = torch.ones(rows, 1, 1, 2, dtype=torch.float64), torch.tensor([False, True]).expand(rows, 1, 1, 2)
    x = levels[0] * torch.randn(rows, 1, 1, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = run(make(one, new)(ask, x, levels, {}, One()), GAUSS.denoise, max_rows=rows)[..., 1]
    return got.mean().item(), got.std().item()


def test_resampling_and_correcting_come_nearer_to_the_posterior():
    """RePaint's figure 1 in numbers, on two numbers with correlation 0.9."""
    levels = karras(40, 0.02, 20.0)
    plain = inpainted(lambda y, m: replacement(ancestral, y, m, corrector=0), levels)
    corrected = inpainted(lambda y, m: replacement(ancestral, y, m, corrector=3, snr=0.5), levels)
    jumped = inpainted(lambda y, m: repaint(ancestral, y, m, 4, 5), levels)
    assert abs(plain[0] - 0.9) > 0.2
    assert abs(corrected[0] - 0.9) < 0.7 * abs(plain[0] - 0.9)
    assert abs(jumped[0] - 0.9) < 0.1 and abs(jumped[1] - 0.436) < 0.05


def test_the_corrector_is_langevin_s():
    x, score, z = (start([s, s + 1], 1.0, SHAPE) for s in (1, 3, 5))
    got = langevin(x, torch.stack([score[0], score[1] / 100]), z, 0.16, 1.0)
    for i, ratio in enumerate((z[0].norm() / score[0].norm(), torch.tensor(2.0))):  # the second is over the limit
        e = 2 * (0.16 * ratio) ** 2
        torch.testing.assert_close(got[i], x[i] + e * score[i] / (1, 100)[i] + (2 * e).sqrt() * z[i])


# ---- RePaint -------------------------------------------------------------------------------------------------


def calls(levels):
    return sum(b < a for a, b in pairwise(levels))


@pytest.mark.parametrize("steps, jump, times", [(250, 10, 10), (100, 10, 3), (50, 5, 2), (20, 10, 10), (7, 10, 5)])
def test_its_schedule_is_that_of_diffusers(steps, jump, times):
    theirs = RePaintScheduler()
    theirs.set_timesteps(steps, jump, times)
    t = [int(i) // (1000 // steps) for i in theirs.timesteps]
    without = [a for before, a, after in zip([t[0] + 1, *t], t, [*t[1:], -1]) if not (before < a < after)]
    ours = jumps([*range(steps, 0, -1), 0], jump, times)
    assert [s - 1 for s in ours] == [*without, -1]
    assert calls(ours) == {(250, 10, 10): 2410, (100, 10, 3): 280}.get((steps, jump, times), calls(ours))
    assert jumps(sigmas, jump, 1) == sigmas


def test_it_is_diffusers_scheduler_on_the_same_noise():
    """Without jumps, whose noise diffusers draws in many small parts; eta 0, where Euler is its step."""
    theirs = RePaintScheduler(eta=0.0, clip_sample=False, beta_schedule="linear")
    theirs.set_timesteps(10, 10, 1)
    bar = theirs.alphas_cumprod.double()[theirs.timesteps]
    levels = [*((1 - bar) / bar).sqrt().tolist(), 0.0]
    seed = Noise([1]).child("repaint").seeds[0]
    stream = torch.Generator().manual_seed(seed)
    x = start([1], levels[0], SHAPE)
    ours = [
        e.x
        for _, e in drive([repaint(euler, known[:1], HALF[:1], 10, 1)(ask, x, levels, {}, Noise([1]))], oracle.denoise)
        if isinstance(e, Step)
    ]
    x = x / math.sqrt(1 + levels[0] ** 2)
    for t, s, s_next, mine in zip(theirs.timesteps, levels, levels[1:], ours):
        ve = x * math.sqrt(1 + s**2)
        eps = (ve - oracle.D(ve, s)) / s
        x = theirs.step(eps.float(), t, x, known[:1], (~HALF[:1]).double(), stream).prev_sample
        torch.testing.assert_close(mine, x.double() * math.sqrt(1 + s_next**2), atol=1e-4, rtol=1e-4)


def test_every_descent_draws_new_numbers():
    """Also where what is inside draws from a stream of its own."""

    def noisy(D, x, part, cond, noise):
        drawn.append(noise.child("inside")(x))
        return (yield from euler(D, x, part, cond, noise))

    drawn = []
    result(repaint(noisy, known, HALF, 3, 2))
    assert len(drawn) == 4 and len({float(z.sum()) for z in drawn}) == 4


# ---- ILVR ----------------------------------------------------------------------------------------------------

big = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_its_filter_is_linear_and_nearly_a_projection():
    a, b = big, big.flip(-1)
    torch.testing.assert_close(phi(2 * a - b, 8), 2 * phi(a, 8) - phi(b, 8))
    torch.testing.assert_close(phi(torch.ones_like(a), 8), torch.ones_like(a))
    assert (phi(phi(a, 8), 8) - phi(a, 8)).norm() < 0.3 * phi(a - 0.5, 8).norm()
    assert phi(a - 0.5, 8).norm() < 0.4 * (a - 0.5).norm()
    torch.testing.assert_close(phi(a, 64), a)


def test_low_frequencies_become_the_reference_s():
    away = []
    for end in (0, 0.5, 1):
        got = result(ilvr(euler, known, detail=2, end=end))
        away.append((phi(got, 2) - phi(known, 2)).norm().item())
    assert away[2] < 0.35 * away[0] and torch.equal(result(ilvr(euler, known, end=0)), result(euler))


def test_all_of_the_detail_is_the_reference():
    torch.testing.assert_close(result(ilvr(euler, known, detail=4, end=1)), known)


def test_it_stops_where_it_should():
    """Steps up to the part `end` are corrected, later ones are the sampler's own."""
    seen = []

    def watching(D, x, levels, cond, noise):
        flow = euler(D, x, levels, cond, noise)
        reply = None
        while True:
            try:
                message = flow.send(reply)
            except StopIteration as stop:
                return stop.value
            reply = yield message
            if isinstance(message, Step):
                seen.append(not torch.equal(reply, message.x))

    result(ilvr(watching, known, detail=2, end=0.5))
    assert seen == [True] * 6 + [False] * 6


# ---- blended latent diffusion --------------------------------------------------------------------------------


def test_it_starts_late_from_the_noise_of_the_run():
    steps = [e for e in events(blended_latent(euler, known, ALL, skip=0.25)) if isinstance(e, Step)]
    assert [s.sigma for s in steps] == sigmas[4:]
    x = start([1, 2], sigmas[0], SHAPE) * math.sqrt((1 + sigmas[3] ** 2) / (1 + sigmas[0] ** 2))
    plain = run(euler(ask, x, sigmas[3:], cond, Noise([1, 2])), oracle.denoise)
    assert torch.equal(steps[-1].x, plain)
    assert torch.equal(result(blended_latent(euler, known, ALL, skip=0)), result(euler))


# ---- DiffEdit ------------------------------------------------------------------------------------------------


def test_equal_prompts_are_an_empty_mask_and_the_image_itself():
    assert torch.equal(result(diffedit(euler, known, cond, ask)), known)


def test_the_background_retraces_its_encoding():
    stored = run(ddim_encode(ask, known, sigmas[2:], other, again=10), oracle.denoise)
    steps = [e for e in events(diffedit(euler, known, other, ask, HALF)) if isinstance(e, Step)]
    assert [s.sigma for s in steps] == [*sigmas[-2:1:-1], *sigmas[3:]]  # up, and down
    for step in steps[len(stored) - 1 :]:
        assert torch.equal(step.x[..., 2:], stored[step.sigma][..., 2:])
        assert not torch.equal(step.x[..., :2], stored[step.sigma][..., :2]) or step.sigma == sigmas[3]


def test_all_that_is_edited_under_the_source_prompt_is_the_source():
    """The encoding is undone by the way down: a bare DDIM step asks for the state below at the label above."""
    back, plain = (result(diffedit(euler, known, cond, ask, ALL, again=n)) for n in (30, 0))
    assert (back - known).norm() < 0.01 * known.norm() < 0.1 * (plain - known).norm()


def test_the_mask_is_where_the_prompts_disagree():
    """Two components that differ on the left half only."""
    means = torch.zeros(2, 1, 4, 4)
    means[1, :, :, :2] = 1.0
    two = Mixture(torch.ones(2), means, torch.full((2,), 0.04), [("a",), ("b",)])
    a, b = (two.encode_prompt([name] * 3) for name in "ab")
    found = run(edit_mask(ask, means[:1].expand(3, -1, -1, -1), 2.0, b, a, Noise([1, 2, 3]), 4, 3.0), two.denoise)
    assert found.shape == (3, 1, 4, 4) and found[..., :2].all() and not found[..., 2:].any()


def test_the_mask_is_that_of_diffusers(tmp_path):
    """The same noise, prompts and guidance through StableDiffusionDiffEditPipeline.generate_mask."""
    from diffusers import StableDiffusionDiffEditPipeline
    from diffusers.utils.torch_utils import randn_tensor

    from backbones import stable_diffusion
    from tests.support import tiny

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        b = stable_diffusion.load(str(tiny.save(tmp_path, "eps")))
    pipe = StableDiffusionDiffEditPipeline.from_pretrained(tmp_path, safety_checker=None, inverse_scheduler=None)
    pipe.set_progress_bar_config(disable=True)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    settings = dict(num_maps_per_mask=5, mask_encode_strength=0.5, mask_thresholding_ratio=2.2, guidance_scale=3.0)
    theirs = pipe.generate_mask(image=latents, source_prompt="a red sphere", target_prompt="a blue cube on grass",
                                num_inference_steps=10, generator=torch.Generator().manual_seed(5),
                                output_type="np", **settings)  # fmt: skip
    z = iter(randn_tensor((5, 4, 16, 16), generator=torch.Generator().manual_seed(5)).split(1))

    class Given:
        def child(self, name):
            return lambda like: next(z)

    source, target, null = (b.encode_prompt([text]) for text in ("a red sphere", "a blue cube on grass", ""))
    pipe.scheduler.set_timesteps(10)
    sigma = b.sigmas[pipe.scheduler.timesteps[5]].item()
    D, _, _ = compose([("cfg", {"scale": 3.0})], euler, null=null)
    ours = run(edit_mask(D, latents, sigma, target, source, Given(), 5, 2.2), b.denoise)
    theirs = torch.from_numpy(theirs).bool().reshape(16, 16)
    assert 10 < theirs.sum() < 200 and (ours[0, 0] != theirs).sum() <= 1
