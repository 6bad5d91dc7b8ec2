"""LoRA and LyCORIS files for tiny networks, every number drawn, and what they add to a weight in closed form."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

RANK, ALPHA = 3, 2.0
ATTENTION = r"attn\d\.to_(q|k|v|out\.0)$"
EVERY_KIND = (
    r"(to_q|to_k|to_out\.0|ff\.net\.2|proj_in|proj_out|time_emb_proj|conv1|conv_shortcut|conv|conv_in|linear_1)$"
)
TEXT = r"(q_proj|out_proj|fc1)$"


def modules(network: nn.Module, which: str) -> dict[str, nn.Module]:
    """The linear layers and convolutions whose names end so."""
    return {
        name: one for name, one in network.named_modules()
        if isinstance(one, (nn.Linear, nn.Conv2d)) and re.search(which, name)
    }  # fmt: skip


class Drawn:
    """Numbers, another for every call."""

    def __init__(self, seed: int):
        self.stream = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.stream) / 4


def lora(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    """The tensors of a layer by the ends of their keys in kohya's spelling, and what they add to W."""
    out, rest = len(W), W.shape[1:]
    up, down = draw(out, RANK), draw(RANK, *rest)
    delta = torch.einsum("or,r...->o...", up, down) * ALPHA / RANK
    stored = up[..., None, None] if W.ndim == 4 else up
    return {"lora_up.weight": stored, "lora_down.weight": down, "alpha": torch.tensor(ALPHA)}, delta


def locon_mid(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    if W.ndim != 4 or W.shape[-1] == 1:
        return lora(W, draw)
    up, down, mid = draw(len(W), RANK), draw(RANK, W.shape[1]), draw(RANK, RANK, *W.shape[2:])
    delta = torch.einsum("or,rs...,si->oi...", up, mid, down) * ALPHA / RANK
    return {"lora_up.weight": up[..., None, None], "lora_down.weight": down[..., None, None], "lora_mid.weight": mid,
            "alpha": torch.tensor(ALPHA)}, delta  # fmt: skip


def loha(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    a, b, c, d = draw(len(W), RANK), draw(RANK, W[0].numel()), draw(len(W), RANK), draw(RANK, W[0].numel())
    tensors = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(ALPHA)}
    return tensors, ((a @ b) * (c @ d)).reshape(W.shape) * ALPHA / RANK


def loha_tucker(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    if W.ndim != 4 or W.shape[-1] == 1:
        return loha(W, draw)
    halves, tensors = [], {"alpha": torch.tensor(ALPHA)}
    for which in "12":
        t, a, b = draw(RANK, RANK, *W.shape[2:]), draw(RANK, len(W)), draw(RANK, W.shape[1])
        tensors |= {f"hada_t{which}": t, f"hada_w{which}_a": a, f"hada_w{which}_b": b}
        halves.append(torch.einsum("ijkl,jr,ip->prkl", t, b, a))
    return tensors, halves[0] * halves[1] * ALPHA / RANK


def lokr(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    """Both factors whole: alpha counts for nothing."""
    left, right = draw(4, 2), draw(len(W) // 4, W.shape[1] // 2, *W.shape[2:])
    delta = torch.kron(left.reshape(4, 2, *[1] * (W.ndim - 2)), right)
    return {"lokr_w1": left, "lokr_w2": right, "alpha": torch.tensor(ALPHA)}, delta


def lokr_low(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    """Both factors of low rank; of a convolution the second by a core."""
    a, b = draw(4, RANK), draw(RANK, 2)
    tensors = {"lokr_w1_a": a, "lokr_w1_b": b, "alpha": torch.tensor(ALPHA)}
    if W.ndim == 4 and W.shape[-1] > 1:
        t, c, d = draw(RANK, RANK, *W.shape[2:]), draw(RANK, len(W) // 4), draw(RANK, W.shape[1] // 2)
        right = torch.einsum("ijkl,ip,jr->prkl", t, c, d).contiguous()
        tensors |= {"lokr_t2": t, "lokr_w2_a": c, "lokr_w2_b": d}
    else:
        c, d = draw(len(W) // 4, RANK), draw(RANK, W[0].numel() // 2)
        right = (c @ d).reshape(len(W) // 4, W.shape[1] // 2, *W.shape[2:])
        tensors |= {"lokr_w2_a": c, "lokr_w2_b": d}
    return tensors, torch.kron((a @ b).reshape(4, 2, *[1] * (W.ndim - 2)), right) * ALPHA / RANK


def full(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    diff = draw(*W.shape)
    return {"diff": diff}, diff


def _dora(W: Tensor, draw: Drawn, rows: bool, make: Callable) -> tuple[dict[str, Tensor], Tensor]:
    tensors, delta = make(W, draw)
    merged = W + delta
    norm = merged.flatten(1).norm(dim=1) if rows else merged.transpose(0, 1).flatten(1).norm(dim=1)
    m = norm * (1 + draw(*norm.shape))
    shape = (-1, *[1] * (W.ndim - 1)) if rows else (1, -1, *[1] * (W.ndim - 2))
    return tensors | {"dora_scale": m.reshape(shape)}, merged * (m / norm).reshape(shape) - W


def dora_of_columns(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    """As the first LyCORIS had it."""
    return _dora(W, draw, False, lora)


def dora_of_rows(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    return _dora(W, draw, True, loha)


def dora_of_lokr(W: Tensor, draw: Drawn) -> tuple[dict[str, Tensor], Tensor]:
    return _dora(W, draw, True, lokr_low)


KINDS = {one.__name__: one for one in (lora, locon_mid, loha, loha_tucker, lokr, lokr_low, full, dora_of_columns,
                                       dora_of_rows, dora_of_lokr)}  # fmt: skip


def drawn(layers: Mapping[str, nn.Module], kind: str = "lora", seed: int = 0) -> tuple[dict, dict]:
    """Of a network's layers: their tensors, {module: {end of key: tensor}}, and deltas, {module: tensor}."""
    draw = Drawn(seed)
    made = {name: KINDS[kind](one.weight.detach(), draw) for name, one in layers.items()}
    return {name: tensors for name, (tensors, _) in made.items()}, {name: delta for name, (_, delta) in made.items()}


def kohya(tensors: Mapping[str, Mapping[str, Tensor]], prefix: str = "lora_unet_", named: Mapping[str, str] = {}
          ) -> dict[str, Tensor]:  # fmt: skip
    """In kohya's keys. named: module -> what it is called, where not by its own name."""
    return {
        f"{prefix}{named.get(name, name).replace('.', '_')}.{end}": one
        for name, of_layer in tensors.items() for end, one in of_layer.items()
    }  # fmt: skip


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    save_file({key: one.contiguous().clone() for key, one in tensors.items()}, file, metadata=dict(about or {}))
    return file


def merged(network: nn.Module, deltas: Mapping[str, Tensor], strength: float = 1.0) -> nn.Module:
    """A copy of a network with these in its weights."""
    other = copy.deepcopy(network)
    for name, delta in deltas.items():
        with torch.no_grad():
            other.get_submodule(name).weight.add_(strength * delta)
    return other


def redrawn(network: nn.Module, seed: int = 5) -> nn.Module:
    """Every parameter anew, biases and norms too: what begins at zero or one hides branches."""
    draw = Drawn(seed)
    for name, one in network.named_parameters():
        with torch.no_grad():
            one.copy_(draw(*one.shape) * 0.4 + ("norm" in name and name.endswith("weight")))
    return network


def original_names(modules: Iterable[str], layers_per_block: int) -> dict[str, str]:
    """module of diffusers' UNet -> its name in the original code, by the rule in words of kohya's and diffusers' own
    converters: L + 1 places a block, the input convolution first."""
    found = {}
    parts = {"resnets": 0, "attentions": 1}
    inside = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
              "conv_shortcut": "skip_connection"}  # fmt: skip
    for name in modules:
        if match := re.match(r"down_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", name):
            place = int(match[1]) * (layers_per_block + 1) + int(match[3]) + 1
            found[name] = f"input_blocks.{place}.{parts[match[2]]}.{inside.get(match[4], match[4])}"
        elif match := re.match(r"up_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", name):
            place = int(match[1]) * (layers_per_block + 1) + int(match[3])
            found[name] = f"output_blocks.{place}.{parts[match[2]]}.{inside.get(match[4], match[4])}"
        elif match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
            place = {"resnets0": 0, "attentions0": 1, "resnets1": 2}[match[1] + match[2]]
            found[name] = f"middle_block.{place}.{inside.get(match[3], match[3])}"
        elif match := re.match(r"down_blocks\.(\d)\.downsamplers\.0\.conv", name):
            found[name] = f"input_blocks.{(int(match[1]) + 1) * (layers_per_block + 1)}.0.op"
    return found


def peft(tensors: Mapping[str, Mapping[str, Tensor]], prefix: str = "transformer.", named: Mapping[str, str] = {}
         ) -> dict[str, Tensor]:  # fmt: skip
    """In peft's keys, without alphas. named: as of `kohya`."""
    ends = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    return {
        f"{prefix}{named.get(name, name)}.{ends[end]}": one
        for name, of_layer in tensors.items() for end, one in of_layer.items() if end in ends
    }  # fmt: skip
