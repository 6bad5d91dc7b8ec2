import pytest
import torch

from conditioning.sampling.guidance.cfg import cfg
from samplers.euler import euler
from samplers.flow import Noise, ask, run
from samplers.geometry.trajectory import Trajectory, recorded
from samplers.geometry.trajectory_comparison import apart, compare, onset
from samplers.schedules import karras
from tests.support.oracle import mixture, start

oracle = mixture()
SEEDS = list(range(6))
SIGMAS = karras(24, 0.05, 40.0)
TEXT = oracle.encode_prompt(["word1"] * 6)
NULL = oracle.encode_prompt([""] * 6)


def trajectory(D=ask, cond=NULL, sigmas=SIGMAS):
    x = start(SEEDS, sigmas[0])
    return run(recorded(euler(D, x, sigmas, cond, Noise(SEEDS)), x, sigmas[0]), oracle.denoise)


def known(*gaps):
    """Two runs on levels 4, 3, 2, 1, 0 whose denoised predictions differ by these, in one image."""
    zero = torch.zeros(5, 1, 1, 1, 2, dtype=torch.float64)
    x0 = zero[:4].clone()
    x0[:, 0, 0, 0, 0] = torch.tensor(gaps, dtype=torch.float64)
    levels = torch.tensor([4.0, 3, 2, 1, 0]).double()
    return Trajectory(levels, zero, zero[:4]), Trajectory(levels, zero, x0)


def test_the_onset_is_the_first_level_where_the_estimates_differ_enough():
    a, b = known(0.0, 0.4, 2.0, 10.0)
    assert [float(onset(a, b, part)) for part in (0.01, 0.1, 0.3)] == [3, 2, 1]
    assert onset(a, a).isnan().all()
    assert apart(a.x0, b.x0).flatten().tolist() == pytest.approx([0, 0.4, 2, 10])


def test_a_run_does_not_leave_itself():
    comparison = compare(trajectory(), trajectory())
    assert (
        comparison.x_apart.max() == comparison.x0_apart.max() == comparison.percent.max() == 0
        and comparison.onset.isnan().all()
    )


def test_guidance_leaves_the_unguided_path_the_farther_the_stronger():
    """And at once: the mean of what a word names is not that of all."""
    plain, given = trajectory(), trajectory(cond=TEXT)
    weak, strong = (trajectory(cfg(ask, NULL, scale), TEXT) for scale in (2.0, 8.0))
    comparison = compare(plain, given)
    assert (
        (comparison.x_apart[0] == 0).all()
        and comparison.x_apart.shape == (25, 6)
        and comparison.x0_apart.shape == (24, 6)
    )
    assert (comparison.percent[-1] > 0).any()
    assert (comparison.onset == 40).any()
    reached = [compare(plain, run_).x_apart.amax(0).mean() for run_ in (given, weak, strong)]
    assert reached == sorted(reached)


def test_other_levels_are_refused():
    with pytest.raises(ValueError, match="one schedule"):
        compare(trajectory(), trajectory(sigmas=karras(24, 0.05, 30.0)))
    with pytest.raises(ValueError, match="one schedule"):
        compare(trajectory(), trajectory(sigmas=karras(20, 0.05, 40.0)))
