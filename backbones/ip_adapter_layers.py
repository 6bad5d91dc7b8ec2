"""What an IP-Adapter's file holds (Ye et al. 2023, arXiv 2308.06721): the projection of an image's features to tokens,
and keys and values of these for every cross-attention layer of a UNet; and both at work, for the length of one call."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from backbones.checkpoint_files import CheckpointError, shapes
from backbones.lora_network import innermost

PROJECTION, LAYERS = "image_proj.", "ip_adapter."  # begin the names of its tensors
TOKENS = 4  # of the plain kind, whose one linear layer does not say how many it makes
HEAD = 64  # width of a head of the resampler
#: (hidden width, width of the pooled features) of an image encoder -> what it is called
ENCODERS = {
    (1280, 1024): "OpenCLIP ViT-H/14", (1664, 1280): "OpenCLIP ViT-bigG/14", (1024, 768): "CLIP ViT-L/14",
}  # fmt: skip
#: Resampler: names in its authors' layout -> diffusers' IPAdapterPlusImageProjection
RESAMPLER = (
    (r"^layers\.(\d+)\.0\.norm1\.", r"layers.\1.ln0."), (r"^layers\.(\d+)\.0\.norm2\.", r"layers.\1.ln1."),
    (r"^layers\.(\d+)\.0\.to_out\.", r"layers.\1.attn.to_out.0."), (r"^layers\.(\d+)\.0\.to_", r"layers.\1.attn.to_"),
    (r"^layers\.(\d+)\.1\.0\.", r"layers.\1.ff.0."), (r"^layers\.(\d+)\.1\.1\.", r"layers.\1.ff.1.net.0.proj."),
    (r"^layers\.(\d+)\.1\.3\.", r"layers.\1.ff.1.net.2."),
)  # fmt: skip
FULL = ((r"^proj\.0\.", "ff.net.0.proj."), (r"^proj\.2\.", "ff.net.2."), (r"^proj\.3\.", "norm."))


@dataclass(frozen=True)
class Kind:
    """What an adapter's file is. pooled: whether it reads the pooled features of its encoder, of this width, or those
    of the layer before the last. text: width of a token. layers: the widths of its layers, in their order."""

    name: str  # "plain", "plus" or "full"
    pooled: bool
    width: int
    text: int
    layers: tuple[int, ...]

    @property
    def encoder(self) -> str:
        """What it reads of which image encoder, in words."""
        place = 1 if self.pooled else 0
        name = next((f" ({name})" for widths, name in ENCODERS.items() if widths[place] == self.width), "")
        return f"{self.width} {'pooled features' if self.pooled else 'features a patch'}{name}"


def kind_of(file: Path) -> Kind:
    """By the shapes of its tensors. Raises CheckpointError for a file that is no IP-Adapter, or one of faces."""
    held = shapes(file)
    own = {name.removeprefix(PROJECTION): shape for name, shape in held.items() if name.startswith(PROJECTION)}
    layers = (re.fullmatch(r"ip_adapter\.(\d+)\.to_k_ip\.weight", name) for name in held)
    numbers = sorted(int(found[1]) for found in layers if found)
    if not own or not numbers:
        raise CheckpointError(f"{file} is no IP-Adapter: its tensors are named otherwise than image_proj... and "
                              "ip_adapter.1.to_k_ip.weight, ...")  # fmt: skip
    if "proj.weight" in own:
        name, width = "plain", own["proj.weight"][1]
    elif "latents" in own and "proj_in.weight" in own:
        name, width = "plus", own["proj_in.weight"][1]
    elif "proj.3.weight" in own:
        name, width = "full", own["proj.0.weight"][1]
    else:
        raise CheckpointError(f"{file} is an IP-Adapter of faces (FaceID), which reads them by InsightFace: that is "
                              "not here. Take one that reads images by CLIP, such as ip-adapter-plus-face")  # fmt: skip
    keys = [held[f"{LAYERS}{number}.to_k_ip.weight"] for number in numbers]
    return Kind(name, name == "plain", width, keys[0][1], tuple(shape[0] for shape in keys))


def layers_of(config: Any) -> list[tuple[str, int]]:
    """(block, width) of the cross-attention layers of a UNet of this config (attributes), in the order of an adapter's
    file: the way down, the way up, the middle, as diffusers lists them."""
    widths = list(config.block_out_channels)
    n = len(widths)

    def each(value: Any) -> list[Any]:
        return list(value) if isinstance(value, list | tuple) else [value] * n

    depths, layers = each(getattr(config, "transformer_layers_per_block", 1)), each(config.layers_per_block)
    back = getattr(config, "reverse_transformer_layers_per_block", None)
    found: list[tuple[str, int]] = []
    for i, kind in enumerate(config.down_block_types):
        if "CrossAttn" in kind:
            found += [(f"down_blocks.{i}.attentions.{j}", widths[i])
                      for j in range(layers[i]) for _ in range(_depth(depths[i], j))]  # fmt: skip
    up = each(back) if back is not None else depths[::-1]
    for i, kind in enumerate(config.up_block_types):
        if "CrossAttn" in kind:
            found += [(f"up_blocks.{i}.attentions.{j}", widths[-1 - i])
                      for j in range(layers[-1 - i] + 1) for _ in range(_depth(up[i], j))]  # fmt: skip
    if "CrossAttn" in str(getattr(config, "mid_block_type", "CrossAttn")):  # old configs do not say it
        found += [("mid_block.attentions.0", widths[-1]) for _ in range(_depth(depths[-1], 0))]
    return found


def _depth(layers: Any, j: int) -> int:
    return int(layers[j] if isinstance(layers, list | tuple) else layers)


def projection(file: Path, kind: Kind, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """What makes tokens of an encoder's features: pooled (n, width), or (n, patches, width) -> (n, tokens, text).

    Raises CheckpointError where the file does not fill it."""
    from diffusers.models import embeddings

    tensors = _tensors(file, PROJECTION)
    if kind.name == "plain":
        made: nn.Module = embeddings.ImageProjection(kind.width, kind.text, TOKENS)
        tensors = {name.replace("proj.", "image_embeds."): one for name, one in tensors.items()}
    elif kind.name == "full":
        made = embeddings.IPAdapterFullImageProjection(kind.width, kind.text)
        tensors = {_renamed(name, FULL): one for name, one in tensors.items()}
    else:
        tensors = _resampler(tensors)
        hidden, heads = tensors["latents"].shape[2], tensors["layers.0.attn.to_q.weight"].shape[0] // HEAD
        depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        ratio = tensors["layers.0.ff.1.net.0.proj.weight"].shape[0] / hidden
        made = embeddings.IPAdapterPlusImageProjection(
            kind.width, kind.text, hidden, depth, HEAD, heads, tensors["latents"].shape[1], ratio
        )
    _fill(file, made, tensors)
    return made.to(device, dtype).eval().requires_grad_(False)


def _resampler(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    made = {}
    for name, one in ((_renamed(name, RESAMPLER), one) for name, one in tensors.items()):
        if ".to_kv." in name:  # keys and values in one layer
            made[name.replace("to_kv", "to_k")], made[name.replace("to_kv", "to_v")] = one.chunk(2)
        else:
            made[name] = one
    return made


def _renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, to in rules:
        if (changed := re.sub(pattern, to, name)) != name:
            return changed
    return name


class Layers(nn.Module):
    """Keys and values of the tokens for every cross-attention layer of a UNet. key: a hash of the file."""

    def __init__(self, file: Path, kind: Kind, device: torch.device, dtype: torch.dtype, key: str):
        super().__init__()
        self.key, self.text = key, kind.text
        self.to_k = nn.ModuleList(nn.Linear(kind.text, width, bias=False) for width in kind.layers)
        self.to_v = nn.ModuleList(nn.Linear(kind.text, width, bias=False) for width in kind.layers)
        held = _tensors(file, LAYERS)
        numbers = sorted({int(name.split(".")[0]) for name in held if name.split(".")[0].isdigit()})
        roles = {f"{number}.to_{role}_ip.weight": f"to_{role}.{i}.weight"
                 for i, number in enumerate(numbers) for role in "kv"}  # fmt: skip
        _fill(file, self, {roles.get(name, name): one for name, one in held.items()})
        self.to(device, dtype).eval().requires_grad_(False)


def _tensors(file: Path, beginning: str) -> dict[str, Tensor]:
    with safe_open(file, "pt") as stored:
        return {name.removeprefix(beginning): stored.get_tensor(name)
                for name in stored.keys() if name.startswith(beginning)}  # fmt: skip


def _fill(file: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError where these are not its tensors, or are no numbers."""
    for name, one in tensors.items():
        if not one.float().isfinite().all():
            raise CheckpointError(f"{file}: its weights are NaN or infinite ({name}): get it again")
    try:
        network.load_state_dict({name: one.float() for name, one in tensors.items()})
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[1] if lines[1:] else lines[0]
        raise CheckpointError(f"{file} is no IP-Adapter that is known: {why}") from error


@dataclass
class Given:
    """Of one adapter for one call: tokens (B, T, D), weights (B, layers), masks by the level of a layer, (B, N, 1)."""

    layers: Layers
    tokens: Tensor
    weights: Tensor
    masks: Mapping[int, Tensor]


@contextmanager
def acting(attentions: Sequence[tuple[Any, int]], given: Sequence[Given]) -> Iterator[None]:
    """Adapters beside the text in cross-attention until the end of the block: what they attend to is added to what
    goes into the layer's last projection, so that edits of its attention, which come before that, act as well.

    attentions: diffusers' Attention of each layer and its level: how often the image was halved there.
    """
    hooks: list[Any] = []
    queries: dict[int, Tensor] = {}
    try:
        for i, (attention, level) in enumerate(attentions):
            hooks.append(attention.to_q.register_forward_hook(_keep(queries, i)))
            hooks.append(attention.to_out[0].register_forward_pre_hook(_add(queries, i, attention, level, given)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _keep(queries: dict[int, Tensor], i: int) -> Any:
    def hook(_layer: nn.Module, _inputs: Any, out: Tensor) -> None:
        queries[i] = out

    return hook


def _add(queries: dict[int, Tensor], i: int, attention: Any, level: int, given: Sequence[Given]) -> Any:
    def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, query = inputs[0], queries.pop(i)

        def heads(rows: Tensor) -> Tensor:  # (B, N, heads * d) -> (B, heads, N, d)
            return rows.reshape(rows.shape[0], -1, attention.heads, rows.shape[-1] // attention.heads).transpose(1, 2)

        for one in given:
            key, value = one.layers.to_k[i](one.tokens), one.layers.to_v[i](one.tokens)
            seen = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
            seen = seen.transpose(1, 2).flatten(2) * one.weights[:, i, None, None]
            hidden = hidden + (seen * one.masks[level] if one.masks else seen)
        return (hidden, *inputs[1:])

    return hook


class WithImages(nn.Module):
    """A UNet with IP-Adapters, called as it is, with their tokens, weights and masks among `added_cond_kwargs`.

    keys: of cond, "<prefix>tokens:<hash>", "<prefix>weights:<hash>" and "<prefix>mask<level>:<hash>".
    """

    def __init__(self, unet: Any, prefix: str, keys: Sequence[str], opened: Mapping[str, Layers]):
        """opened: by the hashes."""
        super().__init__()
        self.unet, self.config, self.prefix, self.keys = unet, unet.config, prefix, tuple(keys)
        self.adapters = {key: opened[key] for key in sorted({one.rpartition(":")[2] for one in keys})}
        parts = {key: [one for one in keys if one.endswith(f":{key}")] for key in self.adapters}
        begin = f"{prefix}mask"
        self.levels = {
            key: [int(one.removeprefix(begin).partition(":")[0]) for one in own if one.startswith(begin)]
            for key, own in parts.items()
        }
        hashes = [f"{key}m" if levels else key for key, levels in self.levels.items()]
        self.key = "-".join([*([unet.key] if hasattr(unet, "key") else []), *hashes])
        self.attentions = attentions(innermost(unet))
        side = self.config.sample_size if isinstance(self.config.sample_size, int) else self.config.sample_size[0]
        self.more: dict[str, Tensor] = dict(getattr(unet, "more", {}))
        for key, layers in self.adapters.items():
            self.more[f"{prefix}tokens:{key}"] = torch.zeros(2, TOKENS, layers.text)
            self.more[f"{prefix}weights:{key}"] = torch.ones(2, len(self.attentions))
            for level in self.levels[key]:
                self.more[f"{prefix}mask{level}:{key}"] = torch.ones(2, (-(-side // 2**level)) ** 2, 1)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: Any = None, **more: Any) -> Any:
        added = dict(added_cond_kwargs)
        given = []
        for key, layers in self.adapters.items():
            tokens, weights = (added.pop(f"{self.prefix}{part}:{key}") for part in ("tokens", "weights"))
            masks = {level: added.pop(f"{self.prefix}mask{level}:{key}") for level in self.levels[key]}
            if masks and masks[0].shape[1] != x.shape[-1] * x.shape[-2]:
                raise ValueError("the mask of the IP-Adapter belongs to the whole image, and a part of it is asked for")
            given.append(Given(layers, tokens, weights, masks))
        with acting(self.attentions, given):
            return self.unet(x, t, text, added_cond_kwargs=added or None, **more)


def attentions(unet: Any) -> list[tuple[Any, int]]:
    """Diffusers' Attention of each cross-attention layer, in the order of an adapter's file, and its level."""
    modules = dict(unet.named_modules())
    names = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith(".attn2.processor")]
    last = len(unet.config.block_out_channels) - 1

    def level(name: str) -> int:
        part, _, rest = name.partition(".")
        number = int(rest.partition(".")[0]) if part != "mid_block" else 0
        return {"down_blocks": number, "up_blocks": last - number}.get(part, last)

    return [(modules[name], level(name)) for name in names]
