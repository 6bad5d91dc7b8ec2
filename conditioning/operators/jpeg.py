import math

import torch
from torch import Tensor

from conditioning.operators.operator import Operator, Shape

LUMA = """16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
          18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101
          72 92 95 98 112 100 103 99"""  # ITU T.81, Annex K
CHROMA = """17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
            99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""
LEVEL = 1 / 255  # 128 of 0..255: where JPEG has its zero
YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]).double()


class JPEG(Operator):
    """What JPEG loses: 8 x 8 blocks of Y, Cb, Cr, their cosine coefficients rounded to multiples of a table's.

    A(x) is the decoded image, without subsampling of the chroma and without a clamp, so A(A(x)) = A(x). It is not
    linear. All images that give y are a box in coefficient space, and `project` goes to the point of it that is
    nearest in Y, Cb, Cr (POCS). For gradients rounding counts as doing nothing. Images that have not 3 channels have
    luma only.
    """

    title = "JPEG"

    def __init__(self, shape: Shape, quality: int = 10):
        if not 1 <= quality <= 100:
            raise ValueError(f"a JPEG quality of {quality}: give 1 to 100")
        self.shape = self.y_shape = shape
        C, H, W = shape
        if H % 8 or W % 8:
            raise ValueError(f"JPEG of {W} x {H} pixels: give multiples of 8, the size of its blocks")
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        names = [LUMA, CHROMA, CHROMA] if C == 3 else [LUMA] * C
        tables = torch.tensor([[int(n) for n in name.split()] for name in names]).double()  # (C, 64)
        steps = ((tables * scale + 50) / 100).floor().clamp(1, 255) / 127.5  # in units of [-1, 1]
        self.steps = steps.reshape(C, 1, 1, 8, 8)
        k = torch.arange(8).double()
        dct = torch.cos(math.pi * k[:, None] * (2 * k + 1) / 16) / 2
        dct[0] /= math.sqrt(2)
        self.dct = dct  # (8, 8) orthonormal

    def A(self, x: Tensor) -> Tensor:
        self.check(x)
        c = self._coefficients(x)
        q = (c / self.steps.to(x)).round() * self.steps.to(x)
        return self._image(c + (q - c).detach())

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        self.check(x)
        c, step = self._coefficients(x), self.steps.to(x)
        centre = (self._coefficients(y) / step).round() * step
        half = 0.499 * step  # just inside
        return self._image(torch.maximum(torch.minimum(c, centre + half), centre - half))

    def show(self, y: Tensor) -> Tensor:
        return y

    def _coefficients(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, h, w, 8, 8)."""
        B, C, H, W = x.shape
        x = x - LEVEL
        if C == 3:
            x = _mixed(x, YCC)
        blocks = x.reshape(B, C, H // 8, 8, W // 8, 8).transpose(3, 4)
        return _turned(blocks, self.dct)

    def _image(self, c: Tensor) -> Tensor:
        B, C, h, w = c.shape[:4]
        x = _turned(c, self.dct.mT).transpose(3, 4).reshape(B, C, 8 * h, 8 * w)
        return (_mixed(x, torch.linalg.inv(YCC)) if C == 3 else x) + LEVEL


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """Channels by a 3 x 3 matrix, as a sum within the pixel."""
    return (matrix.to(x)[:, :, None, None] * x[:, None]).sum(2)


def _turned(c: Tensor, dct: Tensor) -> Tensor:
    """dct c dct^T of every block, as sums within the block."""
    dct = dct.to(c)
    c = (dct[:, :, None] * c[..., None, :, :]).sum(-2)
    return (dct * c[..., None, :]).sum(-1)
