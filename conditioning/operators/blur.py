import math

import torch
from torch import Tensor

from conditioning.operators.operator import Linear, Shape, by_row


class Blur(Linear):
    """Circular convolution, which is diagonal in the Fourier basis: A = F* diag(h) F.

    With phase = h / |h| and Hartley's real transform H (its own inverse and transpose), A = (F* phase F) H |h| H: so
    s = |h|, V = H and U = F* phase F H, all real. Frequencies that are damped below `floor` count as lost, in A too:
    A A+ A = A holds then, and the pseudo-inverse raises nothing by more than 1 / floor.
    """

    def __init__(self, shape: Shape, kernel: Tensor, floor: float):
        """kernel: (H, W) float64, its centre at [0, 0]."""
        if not 0 < floor < 1:
            raise ValueError(f"a floor of {floor} for the damping: give a part between 0 and 1, such as 0.01")
        self.shape = self.y_shape = shape
        h = torch.fft.fft2(kernel / kernel.sum())  # (H, W) complex
        nonzero = h.abs() >= floor
        self.phase = torch.where(nonzero, h / h.abs().clamp(min=1e-300), 1.0)
        self.s = torch.where(nonzero, h.abs(), 0.0).expand(shape).reshape(1, -1)

    def V(self, c: Tensor) -> Tensor:
        return by_row(_hartley, c.reshape(len(c), *self.shape))

    def Vt(self, x: Tensor) -> Tensor:
        return by_row(_hartley, x).flatten(1)

    def U(self, c: Tensor) -> Tensor:
        return self._turn(self.V(c), self.phase)

    def Ut(self, y: Tensor) -> Tensor:
        return torch.where(self.s.to(y.device) > 0, self.Vt(self._turn(y, self.phase.conj())), 0.0)

    def _turn(self, x: Tensor, phase: Tensor) -> Tensor:
        turned = phase.to(device=x.device, dtype=torch.complex128 if x.dtype == torch.float64 else torch.complex64)
        return by_row(lambda row: torch.fft.ifft2(torch.fft.fft2(row) * turned).real, x)


class GaussianBlur(Blur):
    """A Gaussian kernel of standard deviation `sigma` pixels."""

    title = "Gaussian deblurring"

    def __init__(self, shape: Shape, sigma: float = 1.5, floor: float = 0.01):
        if sigma <= 0:
            raise ValueError(f"a blur of {sigma} pixels: give more than 0")
        radius = math.ceil(4 * sigma)
        at = torch.arange(-radius, radius + 1)
        g = torch.exp(-(at.double() ** 2) / (2 * sigma**2))
        rows, columns = (torch.zeros(n, dtype=torch.float64).index_add(0, at % n, g) for n in shape[1:])
        super().__init__(shape, rows[:, None] * columns, floor)


class MotionBlur(Blur):
    """A line of `length` pixels at an `angle` in degrees, 0 along the rows, 90 upwards."""

    title = "Motion deblurring"

    def __init__(self, shape: Shape, length: float = 9.0, angle: float = 30.0, floor: float = 0.01):
        if length < 1:
            raise ValueError(f"a motion of {length} pixels: give 1 or more")
        _, H, W = shape
        t = torch.linspace(-0.5, 0.5, 8 * math.ceil(length) + 1, dtype=torch.float64) * (length - 1)
        turn = math.radians(angle)
        y, x = -t * math.sin(turn), t * math.cos(turn)  # (N,)
        kernel = torch.zeros(H * W, dtype=torch.float64)
        for down in (0, 1):  # each sample goes to its four neighbours
            for right in (0, 1):
                near = (1 - (y - y.floor() - down).abs()) * (1 - (x - x.floor() - right).abs())
                place = ((y.floor().long() + down) % H) * W + (x.floor().long() + right) % W
                kernel.index_add_(0, place, near)
        super().__init__(shape, kernel.reshape(H, W), floor)


def _hartley(x: Tensor) -> Tensor:
    f = torch.fft.fft2(x, norm="ortho")
    return f.real - f.imag
