import torch
from torch import Tensor

from conditioning.operators.operator import Linear, Shape, Weighted, by_row


def small(shape: Shape, factor: int) -> Shape:
    """The shape after going down by the factor. Raises ValueError where it does not divide the size."""
    C, H, W = shape
    if factor < 1 or H % factor or W % factor:
        raise ValueError(f"super-resolution by {factor} of {W} x {H} pixels: give a factor that divides both")
    return C, H // factor, W // factor


class BlockAverage(Weighted):
    """A pixel of y is the mean of factor x factor pixels of x; the pseudo-inverse repeats it."""

    title = "Super-resolution (block average)"

    def __init__(self, shape: Shape, factor: int = 4):
        self.factor = int(factor)
        self.y_shape = small(shape, self.factor)
        n = self.factor**2
        super().__init__(shape, torch.full((n,), 1 / n), self.y_shape)

    def split(self, x: Tensor) -> Tensor:
        r, (C, h, w) = self.factor, self.y_shape
        return x.reshape(len(x), C, h, r, w, r).transpose(3, 4).reshape(len(x), C, h, w, r * r)

    def join(self, c: Tensor) -> Tensor:
        r, (C, h, w) = self.factor, self.y_shape
        return c.reshape(len(c), C, h, w, r, r).transpose(3, 4).reshape(len(c), *self.shape)


class Bicubic(Linear):
    """Smaller by the factor with the cubic kernel (Keys, a = -0.5), stretched so that nothing aliases; edges mirror.

    The kernel is separable: A = R_h (x) R_w, so the singular values are all products of those of two small matrices.
    """

    title = "Super-resolution (bicubic)"

    def __init__(self, shape: Shape, factor: int = 4):
        self.shape, self.y_shape, self.factor = shape, small(shape, int(factor)), int(factor)
        self.rows, self.columns = (_svd(_cubic(n, self.factor)) for n in shape[1:])
        s = self.rows[1][:, None] * self.columns[1]  # (H, W)
        self.s = s.expand(shape).reshape(1, -1)

    def V(self, c: Tensor) -> Tensor:
        return _both(c.reshape(len(c), *self.shape), self.rows[2], self.columns[2])

    def Vt(self, x: Tensor) -> Tensor:
        return _both(x, self.rows[2].T, self.columns[2].T).flatten(1)

    def U(self, c: Tensor) -> Tensor:
        _, h, w = self.y_shape
        return _both(c.reshape(len(c), *self.shape)[..., :h, :w], self.rows[0], self.columns[0])

    def Ut(self, y: Tensor) -> Tensor:
        (_, H, W), (_, h, w) = self.shape, self.y_shape
        c = _both(y, self.rows[0].T, self.columns[0].T)
        return torch.nn.functional.pad(c, (0, W - w, 0, H - h)).flatten(1)


def _both(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """left x right^T for every image and channel."""
    left, right = left.to(x), right.to(x)
    return by_row(lambda row: left @ row @ right.mT, x)


def _svd(R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, m), s (n,) with n - m zeros, V (n, n) of R (m, n)."""
    U, s, Vt = torch.linalg.svd(R)
    return U, torch.nn.functional.pad(s, (0, R.shape[1] - R.shape[0])), Vt.mT


def _cubic(n: int, factor: int) -> Tensor:
    """(n / factor, n): every row a cubic kernel over 4 factor samples, its sum 1."""
    m = n // factor
    centre = (torch.arange(m, dtype=torch.float64) + 0.5) * factor - 0.5  # (m,)
    at = (centre[:, None] - 2 * factor).ceil() + torch.arange(4 * factor + 1)  # (m, 4 factor + 1)
    u = (at - centre[:, None]).abs() / factor
    near, far = 1.5 * u**3 - 2.5 * u**2 + 1, -0.5 * u**3 + 2.5 * u**2 - 4 * u + 2
    w = torch.where(u <= 1, near, torch.where(u < 2, far, 0.0))
    place = at.long() % (2 * n)
    place = torch.where(place < n, place, 2 * n - 1 - place)  # mirrored at both edges
    R = torch.zeros(m, n, dtype=torch.float64).scatter_add(1, place, w)
    return R / R.sum(1, keepdim=True)
