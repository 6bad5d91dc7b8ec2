import numpy as np
import pytest
import torch

from samplers import SAMPLERS
from samplers.flow import Noise, Step, ask, drive, on_step, renoising, run
from samplers.geometry.trajectory import Trajectory, recorded, trajectory
from samplers.schedules import karras
from tests.support.oracle import mixture, start

oracle = mixture()
SEEDS = [1, 2, 3]
SIGMAS = karras(6, 0.05, 20.0)


def flow(name="euler"):
    return SAMPLERS[name](ask, start(SEEDS, 20.0), SIGMAS, {}, Noise(SEEDS))


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "ancestral"])
def test_the_record_holds_start_states_and_the_estimates_at_them(name):
    got = run(recorded(flow(name), start(SEEDS, 20.0), SIGMAS[0]), oracle.denoise)
    assert len(got) == 6 and got.sigmas.tolist() == SIGMAS
    assert torch.equal(got.x[0], start(SEEDS, 20.0))
    for n in range(6):
        assert torch.equal(got.x0[n], oracle.D(got.x[n], SIGMAS[n]))
    torch.testing.assert_close(got.eps[0], (got.x[0] - got.x0[0]) / 20.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_record_changes_nothing(name):
    got = run(recorded(flow(name), start(SEEDS, 20.0), SIGMAS[0]), oracle.denoise)
    assert torch.equal(got.x[-1], run(flow(name), oracle.denoise))


def test_listening_to_the_steps_gives_the_same():
    steps = [event for _, event in drive([flow()], oracle.denoise) if isinstance(event, Step)]
    tapped = trajectory(start(SEEDS, 20.0), SIGMAS[0], steps)
    asked = run(recorded(flow(), start(SEEDS, 20.0), SIGMAS[0]), oracle.denoise)
    assert torch.equal(tapped.x, asked.x) and torch.equal(tapped.x0, asked.x0)


def test_a_correction_from_outside_is_in_the_record():
    got = run(on_step(recorded(flow(), start(SEEDS, 20.0), 20.0), lambda step: step.x + 100), oracle.denoise)
    assert (got.x[1:].flatten(2).mean(2) > 30).all()
    assert torch.equal(got.x0[1], oracle.D(got.x[1], SIGMAS[1]))


def test_a_ddim_encode_is_recorded():
    sigmas = [20.0, 5.0, 8.0, 1.0, 0.0]
    x = start(SEEDS, 20.0)
    got = run(recorded(renoising(SAMPLERS["euler"])(ask, x, sigmas, {}, Noise(SEEDS)), x, 20.0), oracle.denoise)
    assert got.sigmas.tolist() == [20.0, 5.0, 1.0, 0.0]


def test_it_is_written_and_read_back(tmp_path):
    got = run(recorded(flow(), start(SEEDS, 20.0), SIGMAS[0]), oracle.denoise)
    got.save(tmp_path / "run.npz")
    back = Trajectory.load(tmp_path / "run.npz")
    for name in ("sigmas", "x", "x0"):
        assert torch.equal(getattr(back, name), getattr(got, name))
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_closing_the_record_closes_the_run():
    inner = flow()
    outer = recorded(inner, start(SEEDS, 20.0), 20.0)
    next(outer)
    outer.close()
    assert inner.gi_frame is None


def test_what_is_no_run_is_refused():
    with pytest.raises(ValueError, match="took none"):
        trajectory(torch.zeros(1, 1, 2, 2), 1.0, [])
    with pytest.raises(ValueError, match="N \\+ 1"):
        Trajectory(torch.ones(2), torch.zeros(3, 1, 1, 2, 2), torch.zeros(2, 1, 1, 2, 2))


def test_some_rows():
    got = run(recorded(flow(), start(SEEDS, 20.0), SIGMAS[0]), oracle.denoise)
    assert torch.equal(got.rows([2]).x[:, 0], got.x[:, 2])


def test_another_archive_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="no trajectory"):
        Trajectory.load(tmp_path / "other.npz")
