import io

import numpy as np
import pytest
import torch
from PIL import Image

import backbones
from conditioning.inputs import prepare_input
from conditioning.operators import (
    JPEG,
    OPERATORS,
    Bicubic,
    BlockAverage,
    CompressedSensing,
    Degradation,
    GaussianBlur,
    Grey,
    Inpainting,
    Linear,
    MotionBlur,
    Operator,
    measure,
    projection,
)
from samplers.flow import Noise

HOLE = torch.zeros(8, 16, dtype=torch.bool)
HOLE[2:5, 3:9] = True
ODD = torch.arange(7 * 5).reshape(7, 5) % 3 == 0
TWO = torch.stack([HOLE, ~HOLE])[:, None]

LINEAR = {
    "inpainting": lambda: Inpainting((3, 8, 16), HOLE),
    "inpainting, a mask each": lambda: Inpainting((3, 8, 16), TWO),
    "inpainting, odd": lambda: Inpainting((3, 7, 5), ODD),
    "block 4": lambda: BlockAverage((3, 8, 16), 4),
    "block 3, odd": lambda: BlockAverage((2, 9, 15), 3),
    "block 1": lambda: BlockAverage((1, 3, 3), 1),
    "bicubic 4": lambda: Bicubic((3, 8, 16), 4),
    "bicubic 3, odd": lambda: Bicubic((3, 9, 15), 3),
    "gaussian": lambda: GaussianBlur((3, 8, 16), 1.0),
    "gaussian, odd": lambda: GaussianBlur((3, 7, 9), 1.5, 0.05),
    "gaussian, wider than the image": lambda: GaussianBlur((1, 5, 4), 3.0),
    "motion": lambda: MotionBlur((3, 8, 16), 5, 30),
    "motion, odd": lambda: MotionBlur((3, 9, 7), 4.5, 110),
    "grey": lambda: Grey((3, 8, 16)),
    "grey for eyes, odd": lambda: Grey((3, 5, 7), (0.299, 0.587, 0.114)),
    "sensing": lambda: CompressedSensing((3, 8, 16), 0.3, seed=4),
}
linear = pytest.mark.parametrize("make", LINEAR.values(), ids=LINEAR.keys())


def images(shape, rows=2, dtype=torch.float64, seed=0):
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(rows, *shape, generator=stream, dtype=torch.float64).to(dtype) * 2 - 1


def close(a, b, atol=1e-10):
    torch.testing.assert_close(a, b, atol=atol, rtol=0)


# ---- linear ones ---------------------------------------------------------------------------------------------


@linear
def test_the_pseudo_inverse_is_one(make):
    op = make()
    x = images(op.shape)
    y = op.A(x)
    any_y = op.clean(images(op.y_shape, seed=1))
    close(op.A(op.pinv(y)), y)
    close(op.pinv(op.A(op.pinv(any_y))), op.pinv(any_y))
    for shape, f in ((op.shape, lambda v: op.pinv(op.A(v))), (op.y_shape, lambda v: op.A(op.pinv(v)))):  # symmetric
        a, b = images(shape, seed=2), images(shape, seed=3)
        close((f(a) * b).flatten(1).sum(1), (a * f(b)).flatten(1).sum(1))


@linear
def test_the_adjoint_is_one(make):
    op = make()
    x, y = images(op.shape), images(op.y_shape, seed=1)
    close((op.A(x) * y).flatten(1).sum(1), (x * op.At(y)).flatten(1).sum(1))


@linear
def test_the_singular_value_decomposition_is_one(make):
    op = make()
    x, y = images(op.shape), op.clean(images(op.y_shape, seed=1))
    c = op.Vt(x)
    assert op.s.shape[1] == c.shape[1] == torch.Size(op.shape).numel() and (op.s >= 0).all()
    close(op.V(c), x)
    close(op.Vt(op.V(images(c.shape[1:]))), images(c.shape[1:]))
    close(c.norm(dim=1), x.flatten(1).norm(dim=1))  # orthogonal
    close(op.U(op.s * c), op.A(x))
    seen = (op.s > 0).double()
    close(op.Ut(op.U(c * seen)), c * seen)
    close(op.Ut(y) * (1 - seen), torch.zeros_like(c))
    close(op.V(op.Ut(y) * op.inverse), op.pinv(y))


@linear
def test_projecting_gives_the_nearest_image_of_that_measurement(make):
    op = make()
    x, other = images(op.shape), images(op.shape, seed=5)
    y = op.A(other)
    near = op.project(x, y)
    close(op.A(near), y)
    close(op.project(near, y), near)
    assert ((near - x).flatten(1).norm(dim=1) <= (other - x).flatten(1).norm(dim=1) + 1e-12).all()
    close(((near - x) * (near - other)).flatten(1).sum(1), torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("make", [*LINEAR.values(), lambda: JPEG((3, 16, 8), 20)], ids=[*LINEAR, "jpeg"])
def test_a_row_does_not_depend_on_its_company(make):
    op = make()
    rows = 2 if isinstance(op, Inpainting) and len(op.s) == 2 else 3
    for dtype in (torch.float32, torch.float64):
        x = images(op.shape, rows, dtype)
        y = op.A(x)
        assert y.dtype == dtype and y.shape == (rows, *op.y_shape) and op.show(y).shape == x.shape
        assert op.project(x, y).dtype == dtype
        if rows == 3:
            for f, v in [(op.A, x), (op.show, y), (lambda r: op.project(r, op.A(r.flip(-1))), x)]:
                assert torch.equal(f(v)[1:2], f(v[1:2]))


@linear
def test_it_keeps_float32(make):
    op = make()
    x = images(op.shape)
    close(op.A(x.float()).double(), op.A(x), 1e-5)
    close(op.project(x.float(), op.A(x.flip(-1)).float()).double(), op.project(x, op.A(x.flip(-1))), 1e-3)


@linear
def test_gradients_run_through_it(make):
    op = make()
    x = images(op.shape).requires_grad_()
    y = images(op.y_shape, seed=1)
    (g,) = torch.autograd.grad((op.A(x) * y).sum(), x)
    close(g, op.At(y))


def test_block_average_is_average_pooling():
    x = images((3, 8, 16))
    close(BlockAverage((3, 8, 16), 4).A(x), torch.nn.functional.avg_pool2d(x, 4))
    up = torch.nn.functional.interpolate(images((3, 2, 4)), scale_factor=4)
    close(BlockAverage((3, 8, 16), 4).pinv(images((3, 2, 4))), up)


def test_bicubic_is_the_resizing_of_torch_inside():
    """torch cuts the kernel off at the edge where this one mirrors."""
    x = images((3, 32, 48))
    theirs = torch.nn.functional.interpolate(x.float(), size=(8, 12), mode="bicubic", antialias=True)
    close(Bicubic((3, 32, 48), 4).A(x).float()[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], 1e-5)
    flat = torch.full((1, 3, 32, 48), 0.3, dtype=torch.float64)
    close(Bicubic((3, 32, 48), 4).A(flat), flat[..., :8, :12])


def test_blur_is_a_circular_convolution():
    x = images((1, 32, 32), rows=1)
    at = torch.arange(-8, 9).double()
    g = torch.exp(-(at**2) / (2 * 1.5**2))
    kernel = (g[:, None] * g / (g.sum() ** 2))[None, None]
    around = torch.nn.functional.pad(x, (8, 8, 8, 8), mode="circular")
    close(GaussianBlur((1, 32, 32), 1.5, floor=1e-6).A(x), torch.nn.functional.conv2d(around, kernel), 1e-4)
    close(GaussianBlur((1, 32, 32), 1.5).A(x), torch.nn.functional.conv2d(around, kernel), 0.03)


def test_motion_goes_along_its_angle():
    dot = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    dot[..., 7, 7] = 1
    flat, up, slant = (MotionBlur((1, 15, 15), 5, angle, floor=1e-6).A(dot)[0, 0] for angle in (0, 90, 45))
    assert (flat[7, 5:10] > 0.1).all() and flat[6].abs().max() < 1e-3
    close(up, flat.T, 1e-4)
    assert slant[6, 8] > 0.1 and slant[8, 6] > 0.1 and slant[6, 6] < 0.05  # rows go down, the angle up


def test_sensing_keeps_the_mean_and_is_orthonormal():
    op = CompressedSensing((1, 8, 8), 0.25)
    x = images((1, 8, 8))
    close(op.A(x)[..., 0], x.flatten(2).sum(2) / 8)
    close(op.A(op.At(op.A(x))), op.A(x))
    assert op.y_shape == (1, 16)
    assert not torch.equal(op.A(x), CompressedSensing((1, 8, 8), 0.25, seed=1).A(x))


# ---- JPEG ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 16, 24), (1, 8, 8), (4, 8, 8)])
def test_jpeg_twice_is_jpeg_once(shape):
    op, x = JPEG(shape, 10), images(shape)
    y = op.A(x)
    assert (y - x).abs().max() > 0.1
    close(op.A(y), y)
    near = op.project(images(shape, seed=1), y)
    close(op.A(near), y)
    close(op.project(near, y), near)
    close(op.project(x, y), x, 0.02)  # x itself gives y


def test_jpeg_is_that_of_a_program():
    """Pillow's, of a smooth image: subsampling off. Its rounding tips a coefficient or two."""
    v, u = torch.meshgrid(torch.arange(32) / 32, torch.arange(32) / 32, indexing="ij")
    rgb = torch.stack([u, v, 0.5 + 0.3 * torch.sin(6 * (u + v))])
    bytes_ = (rgb * 255).round().byte()
    file = io.BytesIO()
    Image.fromarray(bytes_.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=20, subsampling=0)
    theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    ours = (JPEG((3, 32, 32), 20).A(bytes_.double()[None] / 127.5 - 1)[0] + 1) * 127.5
    away = (ours.clamp(0, 255) - theirs).abs().flatten()
    assert away.median() < 0.6 and away.quantile(0.9) < 2 and (ours - bytes_).abs().median() > 3


def test_jpeg_passes_gradients_straight_through():
    op = JPEG((3, 8, 8), 10)
    x = images((3, 8, 8)).requires_grad_()
    (g,) = torch.autograd.grad(op.A(x).sum(), x)
    close(g, torch.ones_like(x))


# ---- measurements --------------------------------------------------------------------------------------------


def test_noise_belongs_to_the_image_and_stays_out_of_holes():
    op, x = Inpainting((3, 8, 16), HOLE), images((3, 8, 16))
    both, one = measure(op, x, 0.1, Noise([1, 2])), measure(op, x[1:], 0.1, Noise([2]))
    assert torch.equal(both.y[1:], one.y) and both.sigma_y == 0.1
    assert (both.y[..., HOLE] == 0).all() and 0.05 < (both.y - op.A(x))[..., ~HOLE].std() < 0.2
    assert measure(op, x).error(x).tolist() == [0, 0] and (both.error(x) > 0.1).all()
    with pytest.raises(ValueError, match=r"sigma_y is 0\.1: give 0 or more, and with more the noise"):
        measure(op, x, 0.1)


def test_a_degradation_arrives_in_the_space_of_the_backbone():
    oracle = backbones.load("exact")
    image = torch.rand(1, 3, 64, 64)
    degraded = Degradation(image, "super_resolution", {"factor": 2})
    got = prepare_input("operator", degraded, oracle, 2, oracle.latent_shape(64, 64))
    assert got.y.shape == (2, 3, 4, 4) and got.operator.shape == (3, 8, 8)
    close(got.y[:1], torch.nn.functional.avg_pool2d(oracle.encode_image(image), 2), 1e-6)

    class Latent:
        offers = frozenset()

    got = prepare_input("operator", degraded, Latent(), 2, (4, 8, 8))
    assert got.operator.shape == (3, 64, 64)
    with pytest.raises(ValueError, match="no degradation 'fog': there are inpainting, super_resolution"):
        prepare_input("operator", Degradation(image, "fog"), oracle, 1, (3, 8, 8))
    assert prepare_input("operator", got, oracle, 1, (3, 8, 8)) is got


def test_through_an_autoencoder_only_the_correction_goes():
    """Exact where encoding undoes decoding; a denoised prediction that agrees stays as it is, whatever the autoencoder
    does."""

    class Lossy:
        offers = frozenset()
        gain = 0.5

        def decode(self, z):
            return (torch.nn.functional.interpolate(z, scale_factor=2) + 1) / 2

        def encode_image(self, p):
            return torch.nn.functional.avg_pool2d(p * 2 - 1, 2) * self.gain

    x0, op = images((3, 8, 8)), BlockAverage((3, 16, 16), 4)
    right = measure(op, Lossy().decode(x0) * 2 - 1)
    close(projection(right, Lossy())(x0), x0)
    other = measure(op, images((3, 16, 16), seed=7))
    exact = Lossy()
    exact.gain = 1.0
    got = projection(other, exact)(x0)
    assert other.error(exact.decode(got) * 2 - 1).max() < 1e-10 and other.error(exact.decode(x0) * 2 - 1).max() > 0.05
    here = measure(BlockAverage((3, 8, 8), 2), images((3, 8, 8), seed=3))
    close(projection(here)(x0), here.operator.project(x0, here.y))


def test_a_method_that_needs_a_linear_one_says_so():
    x = images((3, 8, 8))
    with pytest.raises(ValueError, match="DDRM needs a linear degradation, and JPEG is none"):
        measure(JPEG((3, 8, 8)), x).linear("DDRM")
    assert isinstance(measure(Grey((3, 8, 8)), x).linear("DDRM"), Linear)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_table_makes_them_all(name):
    parameters = {"mask": torch.zeros(16, 16)} if name == "inpainting" else {}
    op = OPERATORS[name]((3, 16, 16), **parameters)
    assert op.title and op.__doc__ and op.A(images((3, 16, 16))).shape[1:] == op.y_shape
    with pytest.raises(ValueError, match=r"of images \(3, 16, 16\): this one has shape \(3, 8, 16\)"):
        op.A(images((3, 8, 16)))


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda: BlockAverage((3, 10, 8), 4), "super-resolution by 4 of 8 x 10 pixels: give a factor that divides"),
        (lambda: Bicubic((3, 8, 8), 0), "super-resolution by 0"),
        (lambda: CompressedSensing((3, 6, 8)), "sizes that are powers of 2"),
        (lambda: CompressedSensing((3, 8, 8), 1.5), "a ratio of 1.5: give more than 0 and at most 1"),
        (lambda: Inpainting((3, 8, 8), HOLE), r"a mask of shape \(8, 16\) for images \(3, 8, 8\)"),
        (lambda: Grey((4, 8, 8), (1, 1, 1)), "for 4 channels: give one for each"),
        (lambda: GaussianBlur((3, 8, 8), 0), "a blur of 0 pixels"),
        (lambda: GaussianBlur((3, 8, 8), 1, floor=0), "a floor of 0 for the damping"),
        (lambda: MotionBlur((3, 8, 8), 0.5), "a motion of 0.5 pixels: give 1 or more"),
        (lambda: JPEG((3, 8, 8), 0), "a JPEG quality of 0: give 1 to 100"),
        (lambda: JPEG((3, 12, 8)), "JPEG of 8 x 12 pixels: give multiples of 8"),
    ],
)
def test_what_cannot_be_says_why(make, why):
    with pytest.raises(ValueError, match=why):
        make()


def test_an_operator_that_lacks_a_method_cannot_be_made():
    class NoShow(Operator):
        def A(self, x):
            return x

        def project(self, x, y):
            return y

    class NoAdjoint(Linear):
        V = Vt = U = lambda self, c: c

    with pytest.raises(TypeError, match="show"):
        NoShow()
    with pytest.raises(TypeError, match="Ut"):
        NoAdjoint()
