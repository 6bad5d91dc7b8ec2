"""What multistep solvers share: the polynomial through past values, integrated exactly over the step.

A step is an integral of what the network says, over levels where it has not been asked. A multistep solver puts a
polynomial through the last few values and integrates that. Solvers differ in the value (x0, or eps), in the variable of
the polynomial (sigma, time, lambda = -log sigma), and in what they integrate against; the rest is here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from common.knobs import Knob
from samplers.schedules import INFINITE

Past = list[tuple[float, Tensor]]  # (level, value (B, C, H, W)), the newest first

#: How many directions (eps) or predictions (x0) a step looks back at.
Order = Annotated[int, Knob(1, 4, help="How many of the latest predictions each step is made of; 1 is Euler")]
PredictorOrder = Annotated[
    int, Knob(1, 4, help="How many of the latest predictions a step is made of; 2 under strong guidance")
]

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(24)  # on [-1, 1]; exact for polynomials up to degree 47
ROOT = 7  # integrals over sigma are taken in sigma^(1/7): smooth from 0 to an infinite start


def remembered(past: Past, s: float, value: Tensor, order: int) -> Past:
    """The last `order` values with this one. One at an infinite level is forgotten: no polynomial reaches there."""
    return [(s, value), *(one for one in past if one[0] < INFINITE)][:order]


def adams(nodes: Sequence[float], at: np.ndarray, measure: np.ndarray) -> list[float]:
    """Weights w with sum_j w_j f(nodes[j]) the integral of the polynomial through these values.

    nodes: distinct places, of the same variable as `at` (Q,), the points of a quadrature; measure: (Q,), their weights.
    """
    lagrange = ([(at - b) / (a - b) for b in nodes if b != a] for a in nodes)
    return [float((measure * np.prod(factors, axis=0)).sum()) for factors in lagrange]


def over_sigma(past: Past, s: float, s_next: float, variable: Callable[[Any], Any]) -> list[float]:
    """Weights of these values of eps for its integral over sigma from s to s_next, polynomial in variable(sigma)."""
    low, high = s_next ** (1 / ROOT), s ** (1 / ROOT)
    root = low + (high - low) * (1 + POINTS) / 2
    measure = -(high - low) / 2 * WEIGHTS * ROOT * root ** (ROOT - 1)  # negative: down from s
    return adams([float(variable(level)) for level, _ in past], variable(root**ROOT), measure)


def over_lambda(past: Past, s: float, s_next: float, rate: float = 1.0) -> list[float]:
    """Weights of these values of x0 for a step from s to s_next > 0, polynomial in lambda = -log sigma.

    The exact step is exp(-rate h) x + integral of rate exp(-rate (h - u)) x0(u) du over u = 0..h, which is how far
    lambda is past that of s, and h = log(s / s_next). rate: 1 for the ODE, 1 + tau^2 for an SDE.
    """
    h = math.log(s / s_next)
    at = h * (1 + POINTS) / 2
    measure = h / 2 * WEIGHTS * rate * np.exp(-rate * (h - at))
    return adams([math.log(s / level) for level, _ in past], at, measure)


def moved(past: Past, weights: Sequence[float], base: Tensor) -> Tensor | float:
    """sum_j w_j (v_j - base): what these values change of the step of first order, which knows `base` alone.

    In differences, since the step of first order can then be written so that it does not cancel, from an infinite start
    too. 0.0 where there is nothing but the base.
    """
    return sum((w * (value - base) for w, (_, value) in zip(weights, past) if value is not base), 0.0)
