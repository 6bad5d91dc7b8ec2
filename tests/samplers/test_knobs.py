"""Knobs of solvers: every one acts, at its default it changes nothing, and what is out of range is refused."""

import pytest
import torch

from samplers import SAMPLERS
from samplers.flow import Noise, ask, run
from samplers.schedules import karras
from tests.support.oracle import mixture, start

ALL = [(key, name) for key, solver in SAMPLERS.items() for name in solver.knobs]
#: A value that shows what a knob does, where neither end of its range is fit for that.
OTHER = {"s_noise": 0.9, "s_tmin": 2.0, "s_tmax": 1.0, "t_min": 0.5, "t_max": 4.0, "restarts": 2}


def end(solver):
    sigmas = [*karras(8, 0.02, 20.0)]
    return run(solver(ask, start([0, 1, 2], 20.0), sigmas, {}, Noise([0, 1, 2])), mixture().denoise)


@pytest.mark.parametrize("key, name", ALL)
def test_a_knob_acts_and_its_default_does_not(key, name):
    solver, knob = SAMPLERS[key], SAMPLERS[key].knobs[name]
    assert torch.equal(end(solver), end(solver.at({name: knob.default})))
    other = OTHER.get(name, knob.low if knob.default != knob.low else knob.high)
    assert not torch.equal(end(solver), end(solver.at({name: type(knob.default)(other)})))


@pytest.mark.parametrize("key, name", ALL)
def test_a_knob_out_of_range_is_refused_by_its_name(key, name):
    with pytest.raises((ValueError, TypeError), match=name):
        SAMPLERS[key].at({name: SAMPLERS[key].knobs[name].high + 1})
    with pytest.raises(ValueError, match="strength"):
        SAMPLERS[key].at({"strength": 1})
