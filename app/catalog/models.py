"""Kinds of models, which methods run on each, and the table of that in docs/models.md.

    python -m app.catalog.models > docs/models.md

What a kind offers is what its network declares (`backbones.unet.offers`, `backbones.transformer.offers`); which methods
want what is in their registry. Tests hold the file equal to both, and run every method on a checkpoint of every kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import conditioning  # noqa: F401  fills the registry
from backbones import families, pipelines, pixels, transformer, unet
from backbones.embedded import EMBEDDED
from backbones.families.family import Family
from backbones.outline import outline
from backbones.pipelines import Networks
from conditioning.registry import FAMILIES, METHODS, NEEDS, Method

#: Of `conditioning.registry.NEEDS`, what a file beside a UNet brings.
BESIDE = frozenset({"controlnet", "t2i adapter", "ip adapter"})
LATENTS = 4  # channels of the latents of Stable Diffusion
WIDTH = 256  # of the features of a guidance scale, as in the latent consistency models that were published
RUNS, WITH_FILE, NOTHING, NOT = "yes", "file", "no words", ""  # what a cell of the table says


@dataclass(frozen=True)
class ModelKind:
    """key, name: of the kind, for programs and people. networks: its pipelines in diffusers; none of what is embedded.
    offers: keys of `conditioning.registry.NEEDS` that it has; beside: those that a file beside it brings. side: pixels
    of the square image that it was made for, 0 where each checkpoint says so. reads: of a prompt, in words; "" of one
    that reads none."""

    key: str
    name: str
    networks: tuple[Networks, ...]
    offers: frozenset[str]
    beside: frozenset[str] = frozenset()
    side: int = 0
    reads: str = ""

    def runs(self, method: Method) -> str:
        """RUNS, WITH_FILE, NOTHING or NOT."""
        needs, kinds = set(method.needs), {one.kind for one in method.inputs.values()}
        if not needs <= self.offers | self.beside:
            return NOT
        if not self.reads and kinds == {"prompt"}:
            return NOTHING
        return RUNS if needs <= self.offers else WITH_FILE


def _unet(key: str, name: str, networks: Networks, side: int, **config: Any) -> ModelKind:
    """A kind of UNets. config: of such a UNet, as far as `unet.offers` reads it."""
    offers = unet.offers({"in_channels": LATENTS, **config}, LATENTS)
    return ModelKind(key, name, (networks,), offers, BESIDE, side, "77 tokens a chunk, any number of chunks")


def _transformer(key: str, name: str, family: Family, config: Mapping[str, Any] | None = None) -> ModelKind:
    """A kind of diffusion transformers. config: of such a transformer, as far as its family reads it."""
    offers = transformer.offers(family, config or {})
    beside = frozenset({"controlnet"} if family.controls else ())
    return ModelKind(key, name, family.networks, offers, beside, family.side, f"{family.reading.tokens} tokens")


def _embedded(id: str) -> ModelKind:
    known = outline(id)
    return ModelKind(id, EMBEDDED[id].name, (), known.offers, side=known.default_size,
                     reads=f"{known.tokens} words of its own" if known.tokens else "")  # fmt: skip


def kinds() -> tuple[ModelKind, ...]:
    """All of them: what is embedded, UNets, transformers in the order in which people use them, UNets of pixels."""
    sd, xl = pipelines.STABLE_DIFFUSION, pipelines.STABLE_DIFFUSION_XL
    of = {type(one).__name__: one for one in families.ALL}
    return (
        _embedded("still-life"),
        _embedded("still-life-pixels"),
        _unet("sd", "Stable Diffusion 1.x and 2.x", sd, 512),
        _unet("sdxl", "SDXL", xl, 1024),
        _unet("inpainting", "Inpainting UNets", sd, 512, in_channels=2 * LATENTS + 1),
        _unet("instruct-pix2pix", "InstructPix2Pix", sd, 512, in_channels=2 * LATENTS),
        _unet("lcm", "Latent consistency models", sd, 512, time_cond_proj_dim=WIDTH),
        _transformer("qwen-image", "Qwen-Image", of["QwenImage"]),
        _transformer("z-image", "Z-Image", of["ZImage"]),
        _transformer("flux2-klein", "FLUX.2 klein", of["Flux2Klein"]),
        _transformer("flux-dev", "FLUX.1 dev", of["Flux"], {"guidance_embeds": True}),
        _transformer("flux-schnell", "FLUX.1 schnell", of["Flux"], {"guidance_embeds": False}),
        _transformer("flux-kontext", "FLUX.1 Kontext", of["FluxKontext"], {"guidance_embeds": True}),
        _transformer("flux-fill", "FLUX.1 Fill", of["FluxFill"], {"guidance_embeds": True}),
        _transformer("krea2", "Krea 2", of["Krea2"]),
        _transformer("sd3", "SD3 and 3.5", of["StableDiffusion3"]),
        _transformer("sana", "Sana", of["Sana"]),
        _transformer("pixart", "PixArt", of["PixArt"]),
        ModelKind("pixels", "UNets of DDPM's kind", (pipelines.IN_PIXELS,),
                  pixels.Unconditional.offers | pixels.Pixels.offers),
    )  # fmt: skip


def table() -> dict[str, Any]:
    """For the page, as plain JSON: names of kinds on which the same methods run, group by group, and of every method
    what it does on each of these groups."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in kinds():
        groups.setdefault(tuple(one.runs(method) for method in METHODS.values()), []).append(one.name)
    return {
        "groups": list(groups.values()),
        "methods": {name: [runs[i] for runs in groups] for i, name in enumerate(METHODS)},
    }


def markdown() -> str:
    """docs/models.md: the kinds, what they offer, and which methods run on each."""
    known, made = kinds(), table()
    parts = [
        "# Models",
        "Made by `python -m app.catalog.models > docs/models.md` from what networks and methods declare; a test holds "
        "the file equal to that, and others run every method on a tiny checkpoint of every kind. How a model is given, "
        "and what is refused: [backbones/README.md](../backbones/README.md).",
        _rows(("kind", "pipelines of diffusers that it is opened from", "made for", "reads of a prompt"),
              [_kind(one) for one in known]),
        "## What methods need, and who has it",
        "A method that needs none of these runs on every model.",
        _rows(("need", "has it", "wanted by"), [_need(need, words, known) for need, words in NEEDS.items()
                                                if any(need in one.needs for one in METHODS.values())]),
        "## Methods and models",
        "**yes**: it runs. **file**: it runs with a file beside the model, such as a ControlNet or an adapter. "
        "**no words**: it acts by words, and this network reads none. Empty: refused, in words.",
        _rows(("method", *map(", ".join, made["groups"])), [
            (f"`{method.name}`", *made["methods"][method.name])
            for family in FAMILIES.values() for method in METHODS.values() if method.family == family
        ]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _kind(one: ModelKind) -> tuple[str, ...]:
    opened = [name.removesuffix("Pipeline") for networks in one.networks for name in networks.pipelines]
    made_for = f"{one.side} x {one.side}" if one.side else "what its config says"
    return one.name, ", ".join(opened) or "embedded", made_for, one.reads or "nothing"


def _need(need: str, words: str, known: tuple[ModelKind, ...]) -> tuple[str, ...]:
    having = [one.name for one in known if need in one.offers]
    having += [f"{one.name} (a file)" for one in known if need in one.beside - one.offers]
    wanted = [f"`{one.name}`" for one in METHODS.values() if need in one.needs]
    everyone = len(having) == len(known) and not any(need in one.beside for one in known)
    return words.split(" (")[0], "all" if everyone else ", ".join(having), ", ".join(wanted)


def _rows(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    print(markdown(), end="")
