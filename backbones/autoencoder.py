"""Between images and latents: an autoencoder of diffusers behind three functions.

Rows go through one by one: an image does not depend on its batch, and memory stays that of one image.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.memory import give_back, out_of_memory
from backbones.offload import running_on
from backbones.tiled_decoding import decoded_in_tiles

log = logging.getLogger(__name__)
Decode = Callable[[Tensor], Tensor]
WHOLE = 1536  # pixels along a side: an image of more than a square of it is decoded in tiles of that size
SMALLEST = 256  # pixels along a side of a tile
PATIENCE, LONGEST = 10, 640  # images after which larger tiles are tried again: at first, and doubled by failures


class Autoencoder:
    """AutoencoderKL, AutoencoderTiny or AutoencoderDC, with latents scaled to unit size as its config says.

    vae: on its device, in its dtype. decoder: takes the place of vae.decode for latents without gradients, if given:
    raw latents (1, C, h, w) -> (1, 3, H, W) in [-1, 1].
    """

    offers: frozenset[str] = frozenset()

    def __init__(self, vae: Any, decoder: Decode | None = None):
        config = vae.config
        self.vae, self.decoder = vae, decoder
        self.channels, self.factor = latents_of(type(vae).__name__, config)
        mean, std = config.get("latents_mean"), config.get("latents_std")
        per_channel = mean is not None and std is not None
        scale = float(config.get("scaling_factor") or 1.0)
        shift = float(config.get("shift_factor") or 0.0)
        self.shift = torch.tensor(mean if per_channel else [shift] * self.channels).reshape(1, -1, 1, 1)
        self.scale = scale / torch.tensor(std if per_channel else [1.0] * self.channels).reshape(1, -1, 1, 1)
        self._projection: Tensor | None = None
        self._gray: dict[tuple[int, ...], Tensor] = {}  # by the size of the latents
        self._side = WHOLE // self.factor  # latents along a side of a tile; halved where the memory does not suffice
        self._patience, self._decoded_so = PATIENCE, 0  # images of that side until twice of it is tried again

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, C, h, w) float32, the mode where the autoencoder gives a distribution.

        Gradients run through it where pixels has them. Raises ValueError for other shapes.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % self.factor or pixels.shape[3] % self.factor:
            raise ValueError(f"images are (B, 3, H, W), H and W multiples of {self.factor}: got {_shape(pixels)}")
        rows = []
        for row in (pixels.to(running_on(self.vae), self.vae.dtype) * 2 - 1).split(1):
            rows.append(self._encoded(row).float())
        latents = torch.cat(rows)
        return (latents - self.shift.to(latents)) * self.scale.to(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W) float32 in [0, 1]; gradients run through it where latents has them.

        An image that is larger than WHOLE x WHOLE pixels, or than the memory suffices for, is decoded in tiles.
        """
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise ValueError(f"latents are (B, {self.channels}, h, w): got {_shape(latents)}")
        latents = latents.to(running_on(self.vae), torch.float32)
        raw = self.unscaled(latents)
        rows = []
        for row in raw.split(1):
            if row.requires_grad and torch.is_grad_enabled():
                rows.append(self._decoded(row))
            else:
                rows.append(self.decoder(row) if self.decoder is not None else self._fitting(row))
        return (torch.cat(rows) / 2 + 0.5).clamp(0, 1)

    def all_new(self, shape: Sequence[int]) -> Tensor:
        """What an inpainting network is given where nothing of an image is kept, (B, 1 + C, h, w): a mask of ones, and
        the latents of gray. shape: of its x, (B, C, h, w)."""
        size = tuple(shape[-2:])
        if size not in self._gray:
            latents = self.encode(torch.full((1, 3, *(side * self.factor for side in size)), 0.5))
            self._gray = {size: torch.cat([torch.ones_like(latents[:, :1]), latents], 1)}
        return self._gray[size].expand(shape[0], -1, -1, -1)

    def unscaled(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) of unit scale -> as the autoencoder itself gives and takes them."""
        return latents / self.scale.to(latents) + self.shift.to(latents)

    def _encoded(self, row: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1] -> raw latents (1, C, h, w)."""
        return _latents(self.vae.encode(row))

    def _raw_decoded(self, row: Tensor) -> Tensor:
        """Raw latents (1, C, h, w) -> (1, 3, H, W) in [-1, 1]."""
        return self.vae.decode(row, return_dict=False)[0]

    def _fitting(self, row: Tensor) -> Tensor:
        """`_decoded`, whole or in tiles; where the memory does not suffice, in smaller ones for some time."""
        h, w = row.shape[-2:]
        if self._decoded_so >= self._patience:
            self._side, self._decoded_so = min(2 * self._side, WHOLE // self.factor), 0
        while True:
            try:
                whole = h * w <= self._side**2
                image = self._decoded(row) if whole else decoded_in_tiles(self._decoded, row, self.factor, self._side)
                self._decoded_so += self._side < WHOLE // self.factor
                return image
            except Exception as error:
                if not out_of_memory(error) or self._side * self.factor <= SMALLEST:
                    raise
            # out here the failed tensors are gone
            self._side = min(self._side, max(h, w)) // 2
            self._patience, self._decoded_so = min(2 * self._patience, LONGEST), 0
            log.warning("out of memory: images are decoded in tiles of %d pixels for now", self._side * self.factor)
            give_back()

    def _decoded(self, row: Tensor) -> Tensor:
        """(1, C, h, w) raw -> (1, 3, H, W) float32 in [-1, 1].

        Where float16 overflows (SDXL's first autoencoder does, in whatever checkpoint that denies it by force_upcast),
        this image and all that follow are decoded in float32.
        """
        out = self._raw_decoded(row.to(self.vae.dtype))
        if self.vae.dtype == torch.float16 and row.isfinite().all() and not out.isfinite().all():
            log.warning("the autoencoder overflows in float16: it decodes in float32 from now on")
            self.vae.to(torch.float32)
            out = self._raw_decoded(row)
        return out.float()

    def preview(self, x0: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W) in [0, 1] by one small convolution: soft, and hundreds of times cheaper."""
        if self._projection is None:
            self._projection = self.fit()
        with torch.no_grad():
            blocks = _patches(x0.float()) @ self._projection.to(x0.device)  # (B, h * w, 3 f^2)
            size = (x0.shape[-2] * self.factor, x0.shape[-1] * self.factor)
            rgb = F.fold(blocks.transpose(1, 2), size, self.factor, stride=self.factor)
            return rgb.clamp(0, 1)

    def fit(self, images: int = 6, size: int = 16) -> Tensor:
        """The preview's weights (9 C + 1, 3 f^2): a latent and its eight neighbours -> its pixels, by least squares.

        Fitted on images of discs thrown over each other in random colours, of size x size latents each.
        """
        with torch.no_grad():
            pixels = discs(images, size * self.factor)
            latents = self.encode(pixels).cpu()
            ins = _patches(latents).flatten(0, 1).double()  # (N, 9 C + 1)
            outs = F.unfold(pixels, self.factor, stride=self.factor).transpose(1, 2).flatten(0, 1).double()
            ridge = torch.eye(ins.shape[1], dtype=torch.float64) * 1e-3 * len(ins)
            return torch.linalg.solve(ins.T @ ins + ridge, ins.T @ outs).float()


class OneFrame(Autoencoder):
    """AutoencoderKLQwenImage: an autoencoder of films, given films of one frame."""

    def _encoded(self, row: Tensor) -> Tensor:
        return _latents(self.vae.encode(row.unsqueeze(2))).squeeze(2)

    def _raw_decoded(self, row: Tensor) -> Tensor:
        return self.vae.decode(row.unsqueeze(2), return_dict=False)[0].squeeze(2)


class Patches(Autoencoder):
    """AutoencoderKLFlux2: a latent here is a patch of 2 x 2 of its latents, each channel scaled to unit size by the
    statistics that it was trained with."""

    def __init__(self, vae: Any, decoder: Decode | None = None):
        super().__init__(vae, decoder)
        variance = vae.bn.running_var.float() + vae.config.batch_norm_eps
        self.shift = vae.bn.running_mean.float().reshape(1, -1, 1, 1)
        self.scale = variance.rsqrt().reshape(1, -1, 1, 1)

    def _encoded(self, row: Tensor) -> Tensor:
        return F.pixel_unshuffle(super()._encoded(row), 2)

    def _raw_decoded(self, row: Tensor) -> Tensor:
        return super()._raw_decoded(F.pixel_shuffle(row, 2))


KINDS: dict[str, type[Autoencoder]] = {"AutoencoderKLQwenImage": OneFrame, "AutoencoderKLFlux2": Patches}


def autoencoder(vae: Any) -> Autoencoder:
    """Of whatever class of diffusers."""
    return KINDS.get(type(vae).__name__, Autoencoder)(vae)


def latents_of(kind: str, config: Mapping[str, Any]) -> tuple[int, int]:
    """(channels, pixels to a latent) of an autoencoder of this class and config."""
    channels = int(config.get("latent_channels") or config["z_dim"])
    stages = config.get("block_out_channels") or config.get("encoder_block_out_channels") or config["dim_mult"]
    factor = 2 ** (len(stages) - 1)  # each stage but the first has half the side
    return (4 * channels, 2 * factor) if KINDS.get(kind) is Patches else (channels, factor)


def _latents(encoded: Any) -> Tensor:
    """What an encoder of diffusers returns -> latents; the mode where it is a distribution."""
    for name in ("latents", "latent"):  # AutoencoderTiny, AutoencoderDC
        if hasattr(encoded, name):
            return getattr(encoded, name)
    return encoded.latent_dist.mode()


def discs(n: int, size: int, seed: int = 0) -> Tensor:
    """n images (n, 3, size, size) in [0, 1] of discs in random colours and sizes over each other."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, 1, 1, generator=draw).expand(n, 3, size, size).clone()
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    for image in images:
        for _ in range(40):
            cx, cy, r, *colour = torch.rand(6, generator=draw).tolist()
            shade = 0.85 + 0.15 * x  # not flat
            image.copy_(torch.where((x - cx) ** 2 + (y - cy) ** 2 < (0.02 + 0.3 * r**3) ** 2,
                                      torch.tensor(colour).reshape(3, 1, 1) * shade, image))  # fmt: skip
    return images


def _patches(latents: Tensor) -> Tensor:  # (B, C, h, w) -> (B, h * w, 9 C + 1), the last a one
    around = F.unfold(F.pad(latents, (1, 1, 1, 1), mode="replicate"), 3).transpose(1, 2)
    return torch.cat([around, torch.ones_like(around[..., :1])], -1)


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))
