"""What an operator can do, and the measurement that it made."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, int, int]


class Operator(ABC):
    """A degradation A of images (B, C, H, W) in [-1, 1] to y (B, *y_shape).

    shape: (C, H, W) that it takes. title: what it does, for a page. Raises ValueError for images it cannot take.
    """

    title: str
    shape: Shape
    y_shape: tuple[int, ...]

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:
        """Images -> what is measured of them; gradients run through it."""

    @abstractmethod
    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The nearest image to x that would have given y."""

    @abstractmethod
    def show(self, y: Tensor) -> Tensor:
        """y as an image, (B, C, H, W)."""

    def clean(self, y: Tensor) -> Tensor:
        """y without what this operator never measures, such as noise in a hole."""
        return y

    def check(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"{self.title} of images {self.shape}: this one has shape {tuple(x.shape[1:])}")


class Linear(Operator):
    """A linear operator by its singular value decomposition, A = U diag(s) V^T.

    V is square: every one of the D = C H W numbers of an image has a coordinate, and s is 0 at those that the
    measurement does not see. U^T y is 0 there. So s, V^T x and U^T y all are (B or 1, D), in no particular order.
    """

    s: Tensor  # (1, D), or (B, D) where images are measured differently; float64

    @abstractmethod
    def V(self, c: Tensor) -> Tensor:
        """(B, D) -> (B, C, H, W)."""

    @abstractmethod
    def Vt(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D)."""

    @abstractmethod
    def U(self, c: Tensor) -> Tensor:
        """(B, D) -> (B, *y_shape)."""

    @abstractmethod
    def Ut(self, y: Tensor) -> Tensor:
        """(B, *y_shape) -> (B, D), 0 where s is."""

    def A(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.U(self.s.to(x) * self.Vt(x))

    def At(self, y: Tensor) -> Tensor:
        """The adjoint: <A x, y> = <x, At y>."""
        return self.V(self.s.to(y) * self.Ut(y))

    def pinv(self, y: Tensor) -> Tensor:
        """The pseudo-inverse: of all images that give y, or come nearest, the smallest."""
        return self.V(self.inverse.to(y) * self.Ut(y))

    @property
    def inverse(self) -> Tensor:
        """1 / s where something is seen, else 0: of the shape of s."""
        return torch.where(self.s > 0, 1 / self.s.clamp(min=1e-300), 0.0)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        return x - self.pinv(self.A(x) - y)

    def show(self, y: Tensor) -> Tensor:
        return self.pinv(y)


@dataclass(frozen=True, eq=False)
class Measurement:
    """y = A(x) + sigma_y n. y: (B, *operator.y_shape), for images in [-1, 1]; sigma_y in the same units."""

    operator: Operator
    y: Tensor
    sigma_y: float = 0.0

    def linear(self, who: str) -> Linear:
        """The operator, for a method that needs a linear one. Raises ValueError with its name otherwise."""
        if not isinstance(self.operator, Linear):
            raise ValueError(f"{who} needs a linear degradation, and {self.operator.title} is none")
        return self.operator

    def error(self, x: Tensor) -> Tensor:
        """max |A(x) - y| of every row: (B,)."""
        return (self.operator.A(x) - self.y.to(x)).abs().flatten(1).amax(1)


def by_row(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f of every row by itself: the bits of an FFT or a matrix product of one row depend on the batch."""
    return torch.cat([f(row) for row in x.split(1)])


class Weighted(Linear):
    """Groups of n numbers, of each group one weighted sum. Householder's reflection makes its V.

    A subclass says which numbers are a group: `split` (B, C, H, W) -> (B, *groups, n), `join` the way back.
    """

    def __init__(self, shape: Shape, weights: Tensor, groups: tuple[int, ...]):
        """weights: (n,). groups: what `split` gives of one image, but for n."""
        self.shape, self.groups, self.weights = shape, groups, weights.double()
        length = self.weights.norm()
        v = -self.weights / length
        v[0] += 1
        self.v = v / v.norm() if len(v) > 1 and v.norm() > 0 else torch.zeros_like(v)  # (n,)
        s = torch.zeros(*groups, len(weights), dtype=torch.float64)
        s[..., 0] = length
        self.s = s.reshape(1, -1)

    @abstractmethod
    def split(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def join(self, c: Tensor) -> Tensor: ...

    def reflect(self, c: Tensor) -> Tensor:
        v = self.v.to(c)
        return c - 2 * (c * v).sum(-1, keepdim=True) * v

    def V(self, c: Tensor) -> Tensor:
        return self.join(self.reflect(c.reshape(len(c), *self.groups, len(self.v))))

    def Vt(self, x: Tensor) -> Tensor:
        return self.reflect(self.split(x)).flatten(1)

    def U(self, c: Tensor) -> Tensor:
        return c.reshape(len(c), *self.groups, len(self.v))[..., 0].reshape(len(c), *self.y_shape)

    def Ut(self, y: Tensor) -> Tensor:
        c = y.new_zeros(len(y), *self.groups, len(self.v))
        c[..., 0] = y.reshape(len(y), *self.groups)
        return c.flatten(1)

    def A(self, x: Tensor) -> Tensor:
        self.check(x)
        return (self.split(x) * self.weights.to(x)).sum(-1).reshape(len(x), *self.y_shape)
