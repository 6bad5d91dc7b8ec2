"""Tiny IP-Adapters for the tiny UNets, as files in the layout of their authors, and tiny image encoders."""

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

HIDDEN, POOLED, SIDE = 48, 40, 32  # of the image encoder


def image_encoder(folder, hidden=HIDDEN, pooled=POOLED):
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=hidden, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=SIDE,
        patch_size=8, projection_dim=pooled,
    )).save_pretrained(folder)  # fmt: skip
    return folder


def ip_adapter(file, unet, kind="plain", seed=1, hidden=HIDDEN, pooled=POOLED, queries=4):
    """kind: "plain", "plus" (a resampler) or "full"."""
    text, stream = unet.config.cross_attention_dim, torch.Generator().manual_seed(seed)
    wide = 64  # of the resampler, one head

    def drawn(*shape, scale=None):
        return torch.randn(*shape, generator=stream) * (scale or shape[-1] ** -0.5)

    def norm(width):
        return {"weight": 1 + drawn(width, scale=0.2), "bias": drawn(width, scale=0.2)}

    made = {}
    if kind == "plain":
        made = {"proj.weight": drawn(4 * text, pooled), "proj.bias": drawn(4 * text, scale=0.2)}
        made |= {f"norm.{name}": one for name, one in norm(text).items()}
    elif kind == "full":
        made = {"proj.0.weight": drawn(hidden, hidden), "proj.0.bias": drawn(hidden, scale=0.2)}
        made |= {"proj.2.weight": drawn(text, hidden), "proj.2.bias": drawn(text, scale=0.2)}
        made |= {f"proj.3.{name}": one for name, one in norm(text).items()}
    else:
        made = {"latents": drawn(1, queries, wide), "proj_in.weight": drawn(wide, hidden)}
        made |= {"proj_in.bias": drawn(wide, scale=0.2), "proj_out.weight": drawn(text, wide)}
        made |= {"proj_out.bias": drawn(text, scale=0.2)} | {f"norm_out.{at}": one for at, one in norm(text).items()}
        for i in range(4):  # as many as diffusers knows
            for at in ("0.norm1", "0.norm2", "1.0"):
                made |= {f"layers.{i}.{at}.{name}": one for name, one in norm(wide).items()}
            made |= {f"layers.{i}.0.to_q.weight": drawn(64, wide), f"layers.{i}.0.to_kv.weight": drawn(128, wide)}
            made |= {f"layers.{i}.0.to_out.weight": drawn(wide, 64)}
            made |= {f"layers.{i}.1.1.weight": drawn(4 * wide, wide), f"layers.{i}.1.3.weight": drawn(wide, 4 * wide)}
    tensors = {f"image_proj.{name}": one for name, one in made.items()}
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    modules = dict(unet.named_modules())
    for i, name in enumerate(names):
        width = modules[name.removesuffix(".processor")].to_q.weight.shape[0]
        tensors |= {f"ip_adapter.{2 * i + 1}.to_{role}_ip.weight": 2 * drawn(width, text) for role in "kv"}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file
