"""Composable diffusion, MultiDiffusion and semantic guidance."""

import pytest
import torch

import backbones
from backbones.exact import Mixture
from backbones.outline import outline
from conditioning.compose import compose
from conditioning.inputs import Box
from conditioning.registry import METHODS
from conditioning.sampling.blending.composable import composable
from conditioning.sampling.blending.multidiffusion import background, inside, multidiffusion
from conditioning.sampling.blending.panorama import panorama, places
from conditioning.sampling.blending.semantic_guidance import largest, semantic_guidance
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, ask, role_of, run, with_role
from samplers.schedules import karras
from tests.support.oracle import finish, start

oracle = backbones.load("exact")
SHAPE = (3, 8, 8)
sigmas = karras(10, 0.05, 14.0)
x = start([1, 2], 3.0, SHAPE)
cond, null, red, disc = (oracle.encode_prompt([text] * 2) for text in ("blue", "", "red", "disc"))
null = with_role(null, "negative")


def once(D, sigma=3.0, cond=cond, x=x):
    return run(D(x, sigma, cond), oracle.denoise)


def guided(stack, sampler="euler", x=None, cond=cond, **shared):
    D, solver, _ = compose(stack, SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=oracle, **shared)
    start_x = start([1, 2], sigmas[0], SHAPE) if x is None else x
    return run(solver(D, start_x, sigmas, cond, Noise([1, 2])), oracle.denoise)


def est(cond, x=x, sigma=3.0):
    return oracle.D(x, sigma, cond)


# ---- composable ----------------------------------------------------------------------------------------------


def test_and_not_are_their_equation():
    c, u, r, d = (est(one) for one in (cond, null, red, disc))
    torch.testing.assert_close(once(composable(ask, red, null, disc, 0.5, 0.3)), c + 0.5 * (r - u) - 0.3 * (d - u))
    assert torch.equal(once(composable(ask, red, null), cond=null), u)
    assert torch.equal(once(composable(ask, red, null, weight=0.0)), c)


def test_under_guidance_it_is_the_paper_s_rule():
    D, _, _ = compose(
        [("cfg", {"scale": 7.5}), ("composable", {"also": red, "weight": 0.4})], SAMPLERS["euler"], null=null
    )
    c, u, r = est(cond), est(null), est(red)
    torch.testing.assert_close(once(D), u + 7.5 * (c - u) + 3.0 * (r - u))


def test_a_concept_twice_is_one_of_double_weight():
    stack = [("cfg", {"scale": 2.0}), ("composable", {"also": cond})]
    torch.testing.assert_close(guided(stack), guided([("cfg", {"scale": 4.0})]))


def test_concepts_may_change_places():
    ab, ba = (guided([("composable", {"also": b})], cond=a) for a, b in ((red, disc), (disc, red)))
    torch.testing.assert_close(ab, ba)


def test_and_of_gaussians_is_their_product():
    """N(a, v) and N(b, v) over a wide prior: the score of the product, to what the wide prior adds."""
    means = torch.zeros(3, 1, 1, 1)
    means[:, 0, 0, 0] = torch.tensor([-1.0, 2.0, 0.0])
    three = Mixture(torch.ones(3), means, torch.tensor([0.5, 0.5, 1e6]), [("a",), ("b",), ("wide",)])
    a, b, wide = (three.encode_prompt([name]) for name in ("a", "b", "wide"))
    product = Mixture(torch.ones(1), torch.full((1, 1, 1, 1), 0.5), torch.tensor([0.25]))
    at = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
    got = run(composable(ask, b, wide)(at, 1e-3, a), three.denoise)  # sharp only at low levels
    torch.testing.assert_close((got - at) / 1e-6, (product.D(at, 1e-3) - at) / 1e-6, atol=1e-3, rtol=1e-3)


# ---- panoramas -----------------------------------------------------------------------------------------------


def wide(width=20, dtype=torch.float64):
    return start([1, 2], sigmas[0], (3, 8, width), dtype)


def test_windows_reach_every_place():
    assert places(64, 64, 8) == places(32, 64, 8) == [0]
    assert places(256, 64, 8) == [*range(0, 193, 8)] and len(places(256, 64, 8)) == 25  # the paper's 512 x 2048
    assert places(20, 8, 5) == [0, 5, 10, 12]


def test_one_window_is_the_network():
    assert torch.equal(guided([("panorama", {})]), guided([]))
    assert torch.equal(guided([("panorama", {"window": 32})]), guided([]))


def test_a_window_larger_than_the_image_is_as_large_as_the_image():
    strip = wide(16)[:, :, :4]  # half as high as the network's own size
    whole = guided([("panorama", {"stride": 8})], x=strip)
    own = guided([("panorama", {"window": 4, "stride": 4})], x=wide(16)[:, :, :4])
    assert whole.isfinite().all() and whole.shape == own.shape == strip.shape
    one = panorama(ask, 32, 8)
    assert torch.equal(run(one(strip, 3.0, cond), oracle.denoise), run(ask(strip, 3.0, cond), oracle.denoise))


def test_a_stride_that_leaves_gaps_is_refused():
    with pytest.raises(ValueError, match="a stride of 9 leaves gaps between windows of 8: give at most 8"):
        guided([("panorama", {"window": 8, "stride": 9})], x=wide(32))
    assert places(8, 8, 64) == [0], "one window has no gaps"


@pytest.mark.parametrize(
    ("knobs", "width", "knob", "refused", "words"),
    [
        ({"stride": 64}, 384, "stride", True, "64 leaves gaps between windows of 32 latents. Give at most 32"),
        ({"window": 1}, 256, "window", True, "1 is no multiple of 4 latents. Give 4"),
        ({"window": 3}, 256, "window", True, "3 is no multiple of 4 latents. Give 4"),
        ({"window": 17}, 256, "window", True, "17 is no multiple of 4 latents. Give 16 or 20"),
        ({"window": 18}, 256, "window", True, "18 is no multiple of 4 latents. Give 16 or 20"),
        ({"window": 30}, 256, "window", True, "30 is no multiple of 4 latents. Give 28 or 32"),
        ({"window": 0}, 128, "window", False, "one window covers the image of 128 x 128 pixels, so it does nothing"),
        ({"window": 256}, 256, "window", False, "one window covers the image of 256 x 128 pixels"),
    ],
)
def test_what_does_not_fit_the_image_is_said_before_the_run(knobs, width, knob, refused, words):
    (one,) = METHODS["panorama"].misfits_at(knobs, width, 128, outline("still-life"))
    assert (one.knob, one.refused) == (knob, refused) and one.why.startswith(words)


@pytest.mark.parametrize("window", [0, 16, 40, 48])  # the last two are larger than the image is high
def test_windows_that_fit_are_not_spoken_of(window):
    assert not METHODS["panorama"].misfits_at({"window": window}, 256, 128, outline("still-life"))
    assert not METHODS["panorama"].misfits_at({"window": 3}, 250, 128, outline("still-life")), "said of the size"


def test_windows_that_do_not_overlap_are_images_of_their_own():
    whole = guided([("panorama", {"window": 8, "stride": 8})], x=wide(16))
    for left in (0, 8):
        torch.testing.assert_close(whole[..., left : left + 8], guided([], x=wide(16)[..., left : left + 8]))


def test_a_network_that_sees_single_pixels_needs_no_windows():
    pixels = Mixture(torch.ones(1), torch.full((1, 3, 8, 8), 0.3), torch.tensor([0.5]))
    D = panorama(ask, 8, 3)
    torch.testing.assert_close(run(D(wide(), 3.0, {}), pixels.denoise), pixels.D(wide(), 3.0))


def test_all_windows_are_one_call_also_under_guidance():
    driver = Driver(oracle.denoise)
    stack = [("cfg", {"scale": 3.0}), ("panorama", {"stride": 4})]
    D, solver, text = compose(stack, SAMPLERS["heun"], sigmas=sigmas, null=null, backbone=oracle)
    driver.add(0, solver(D, wide(), sigmas, cond, Noise([1, 2])))
    finish(driver)
    assert text == "heun over cfg(panorama(ask))" and driver.nfe == 19 and driver.rows == 19 * 2 * 4 * 2


def test_there_are_no_seams():
    """The step across the edges of windows is not above that elsewhere; without overlap it is."""

    def seams(stride):
        got = guided([("panorama", {"window": 8, "stride": stride})], x=wide(32), cond=null)
        step = got.diff(dim=3).abs().mean((0, 1, 2))
        edges = torch.zeros(31, dtype=torch.bool)
        edges[[i - 1 for i in (8, 16, 24)]] = True
        return (step[edges].mean() / step[~edges].mean()).item()

    assert seams(2) < 1.25


def test_windows_that_disagree_end_unseen_under_feathered_weights():
    """Each window answers with a number of its own: the paper's mean jumps where one ends, the feathered does not."""

    def own(x, sigma, cond, **kw):
        return torch.full_like(x, float(cond["map"][0, 0, 0, 0]))
        yield

    def largest_step(feather):
        made = run(panorama(own, 8, 2, feather)(wide(32), 3.0, {"map": maps}), oracle.denoise)
        return made.diff(dim=3).abs().max().item()

    maps = torch.randn(32, generator=torch.Generator().manual_seed(0)).expand(2, 1, 8, 32).double()
    assert largest_step(1.0) < 0.6 * largest_step(0.0)


def test_maps_in_cond_are_cut_as_the_image_is():
    seen = []

    def noting(x, sigma, cond, **kw):
        seen.append({name: value for name, value in cond.items()})
        return (yield from ask(x, sigma, {}))

    maps = torch.arange(40.0).expand(2, 1, 16, 40)
    run(panorama(noting, 8, 6)(wide(), 3.0, {"map": maps, "text": null["text"], "weights": "w"}), oracle.denoise)
    assert [one["map"].shape for one in seen] == [(2, 1, 16, 16)] * 3
    assert [one["map"][0, 0, 0, 0].item() for one in seen] == [0.0, 12.0, 24.0]
    assert all(one["text"] is null["text"] and one["weights"] == "w" for one in seen)


# ---- regions -------------------------------------------------------------------------------------------------

LEFT, RIGHT = Box(0, 0, 0.5, 1, "red"), Box(0.5, 0, 1, 1, "disc")


def test_each_region_has_its_prompt():
    got = once(multidiffusion(ask, [LEFT], backbone=oracle, bootstrap=0))
    assert torch.equal(got[..., :4], est(red)[..., :4]) and torch.equal(got[..., 4:], est(cond)[..., 4:])
    both = once(multidiffusion(ask, [LEFT, RIGHT], backbone=oracle, bootstrap=0))
    assert torch.equal(both[..., :4], est(red)[..., :4]) and torch.equal(both[..., 4:], est(disc)[..., 4:])


def test_where_regions_overlap_they_share():
    two = [Box(0, 0, 1, 1, "red"), Box(0, 0, 1, 1, "disc")]
    got = once(multidiffusion(ask, two, backbone=oracle, bootstrap=0))
    torch.testing.assert_close(got, (est(red) + est(disc)) / 2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_regions_of_one_prompt_are_the_plain_run(sampler):
    same = [Box(0, 0, 0.5, 1, "blue"), Box(0.3, 0.2, 0.9, 0.6, "blue")]
    stack = [("cfg", {"scale": 3.0})]
    got = guided([*stack, ("multidiffusion", {"regions": same, "bootstrap": 0.0})], sampler)
    torch.testing.assert_close(got, guided(stack, sampler), atol=1e-9, rtol=0)
    assert torch.equal(guided([*stack, ("multidiffusion", {"regions": []})], sampler), guided(stack, sampler))


def test_a_region_under_guidance_is_guided_by_its_own_prompt():
    D, _, _ = compose([("cfg", {"scale": 3.0}), ("multidiffusion", {"regions": [LEFT], "bootstrap": 0.0})],
                      SAMPLERS["euler"], null=null, backbone=oracle)  # fmt: skip
    u = est(null)
    torch.testing.assert_close(once(D)[..., :4], (u + 3 * (est(red) - u))[..., :4])


def test_bootstrapping_shows_a_region_a_plain_background():
    seen = []

    def noting(x, sigma, cond, **kw):
        seen.append((x, role_of(cond)))
        return (yield from ask(x, sigma, cond))

    D = multidiffusion(noting, [LEFT], 0.4, sigmas, oracle)
    for which in (cond, null):
        run(D(x, sigmas[3], which), oracle.denoise)
        assert torch.equal(seen[-2][0], x) and torch.equal(seen[-1][0][..., :4], x[..., :4])
        outside = seen[-1][0][..., 4:]
        torch.testing.assert_close(outside, background(0, x, sigmas[3], oracle, {})[..., 4:])
        assert seen[-1][1] == ("negative" if which is null else "other")
    run(D(x, sigmas[4], null), oracle.denoise)
    assert len(seen) == 5
    flat = background(0, x, 1e-9, oracle, {})
    torch.testing.assert_close(flat, flat.mean((2, 3), keepdim=True).expand_as(flat), atol=1e-6, rtol=0)
    assert torch.equal(flat[0], flat[1]) and not torch.equal(flat, background(1, x, 1e-9, oracle, {}))


def test_a_background_is_encoded_small_and_once_for_each_level():
    """Of a large network too: only the mean of its latents is needed."""
    seen = []

    class Large:
        default_size = 1024

        def __getattr__(self, name):
            return getattr(oracle, name)

        def encode_image(self, pixels):
            seen.append(pixels.shape)
            return oracle.encode_image(pixels)

    stack = [("multidiffusion", {"regions": [LEFT, RIGHT], "bootstrap": 0.5}), ("cfg", {"scale": 2.0})]
    D, solver, _ = compose(stack, SAMPLERS["heun"], sigmas=sigmas, null=null, backbone=Large())
    run(solver(D, start([1, 2], sigmas[0], SHAPE), sigmas, cond, Noise([1, 2])), oracle.denoise)
    assert seen == [(1, 3, 128, 128)] * (5 * 2), "two regions at five levels, asked for by prompt, negative and Heun"


def test_a_box_has_at_least_a_cell():
    assert inside(Box(0, 0, 1, 1), x).all()
    assert inside(Box(0.51, 0.26, 0.52, 0.27), x).nonzero().tolist() == [[2, 4]]
    assert inside(Box(1, 1, 1, 1), x).nonzero().tolist() == [[7, 7]]
    assert inside(Box(0.25, 0.5, 0.75, 1), x).sum() == 16


def test_regions_of_a_panorama():
    stack = [("panorama", {"stride": 4}), ("multidiffusion", {"regions": [LEFT, RIGHT]}), ("cfg", {"scale": 2.0})]
    _, _, text = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=null, backbone=oracle)
    assert text == "euler over cfg(multidiffusion(panorama(ask)))"
    assert guided(stack, x=wide(16)).isfinite().all()


# ---- semantic guidance ---------------------------------------------------------------------------------------


def test_without_threshold_and_momentum_it_is_the_difference():
    D = semantic_guidance(ask, red, null, disc, 0.5, 0.4, threshold=0, warmup=0, momentum=0)
    c, u, r, d = (est(one) for one in (cond, null, red, disc))
    torch.testing.assert_close(once(D), c + 0.5 * (r - u) + 0.2 * (d - u))
    assert torch.equal(once(D, cond=null), u)


def test_only_the_largest_entries_act():
    d = start([1, 2], 1.0, (3, 10, 10))
    kept = largest(d, 0.9)
    assert ((kept != 0).flatten(2).sum(2) == 10).all() and torch.equal(kept[kept != 0], d[kept != 0])
    assert torch.equal(largest(d, 0.0), d)


def test_a_second_ask_of_a_level_and_a_second_run_start_from_the_same_momentum():
    knobs = {"edit": red, "warmup": 0.0, "momentum": 0.5}
    D, solver, _ = compose([("semantic_guidance", knobs)], SAMPLERS["heun"], sigmas=sigmas, null=null)
    runs = [run(solver(D, start([1, 2], 14.0, SHAPE), sigmas, cond, Noise([1, 2])), oracle.denoise) for _ in range(2)]
    assert torch.equal(*runs)
    levels = [14.0, 5.0, 5.0, 5.0]
    D = semantic_guidance(ask, red, null, warmup=0, momentum=0.5)
    answers = [once(D, level) for level in levels]
    assert torch.equal(answers[1], answers[2]) and torch.equal(answers[2], answers[3])


@pytest.mark.parametrize("threshold, tipped", [(0.0, 0.0), (0.8, 0.15)])
def test_it_is_diffusers_pipeline(tmp_path, threshold, tipped):
    """SemanticStableDiffusionPipeline on a tiny random network: two concepts, one of them taken away.

    With a threshold a rounding tips entries over their quantile, and what they tip; the rest agrees.
    """
    from diffusers import SemanticStableDiffusionPipeline

    from backbones import stable_diffusion
    from tests.support import tiny

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        b = stable_diffusion.load(str(tiny.save(tmp_path, "eps")))
    pipe = SemanticStableDiffusionPipeline.from_pretrained(tmp_path, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    theirs = pipe("a red sphere", negative_prompt="grass", latents=z, guidance_scale=10.0, num_inference_steps=10,
                  editing_prompt=["a blue cube", "large"], reverse_editing_direction=[False, True],
                  edit_guidance_scale=[50.0, 30.0], edit_warmup_steps=2, edit_threshold=threshold,
                  edit_momentum_scale=0.3, edit_mom_beta=0.6, output_type="latent").images  # fmt: skip
    end = b.sigmas[0].item()
    levels = [*b.sigmas[pipe.scheduler.timesteps].tolist(), end]
    prompt, grass, cube, large = (b.encode_prompt([text]) for text in ("a red sphere", "grass", "a blue cube", "large"))
    knobs = {"edit": cube, "also": large, "scale": 5.0, "ratio": -3 / 5, "threshold": threshold, "warmup": 0.2,
             "momentum": 0.3, "decay": 0.6}  # fmt: skip
    stack = [("cfg", {"scale": 10.0}), ("semantic_guidance", knobs)]
    D, solver, _ = compose(stack, SAMPLERS["euler"], sigmas=levels, null=grass)
    got = run(solver(D, z * (1 + levels[0] ** 2) ** 0.5, levels, prompt, Noise([0])), b.denoise)
    got = got / (1 + end**2) ** 0.5
    away = (got - theirs).abs() / theirs.abs().max()
    assert (away > 1e-4).float().mean() <= tipped and away.max() < 1e-4 + 0.1 * (threshold > 0)
    D, solver, _ = compose(stack[:1], SAMPLERS["euler"], sigmas=levels, null=grass)
    plain = run(solver(D, z * (1 + levels[0] ** 2) ** 0.5, levels, prompt, Noise([0])), b.denoise)
    effect = (plain / (1 + end**2) ** 0.5 - theirs).abs() / theirs.abs().max()
    assert effect.max() > 0.05 and away.median() < 0.02 * effect.median()
