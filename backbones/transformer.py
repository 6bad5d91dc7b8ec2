"""Diffusion transformers of every family as a `backbones.latent.Network`, and what encodes their prompts."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise, zip_longest
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from backbones import prompt_places, text_length
from backbones.autoencoder import Autoencoder
from backbones.checkpoint_files import CheckpointError
from backbones.controls import Opener
from backbones.engines import EngineChoice, TorchEngine
from backbones.extensions import Extension, Extensions
from backbones.families.family import REFERENCE, Config, Family
from backbones.latent import Inputs
from backbones.pipelines import CLIP, CLIP_PROJECTED
from backbones.token_attention import editing
from common.weighted_text import plain
from samplers.protocol import Cond


def offers(family: Family, config: Config) -> frozenset[str]:
    """What a transformer of this config offers methods."""
    has = {"distilled guidance": family.has_guidance(config), "reference images": family.references,
           "inpainting network": family.inpaints}  # fmt: skip
    kinds = {kind for one in family.attention for kind in (("self", "cross") if one.kind == "joint" else (one.kind,))}
    attention = {f"attention.{kind}" for kind in kinds}
    return frozenset({"prompts", "gradients", "lora", *attention, *(name for name, offered in has.items() if offered)})


class AsUNet(nn.Module):
    """A transformer, called as a UNet is, for `engines.TorchEngine`."""

    def __init__(self, family: Family, model: Any, span: float):
        super().__init__()
        self.family, self.model, self.span, self.config = family, model, span, model.config

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, added_cond_kwargs: dict[str, Tensor] | None = None,
        return_dict: bool = False, residuals: Mapping[str, Any] | None = None,
    ) -> tuple[Tensor]:  # fmt: skip
        """residuals: of ControlNets, further inputs of the model by its names."""
        model = Given(self.model, residuals) if residuals else self.model
        return (self.family.predict(model, x, t / self.span, {"text": text, **(added_cond_kwargs or {})}),)


class Given:
    """A model with further inputs, called as it is itself."""

    def __init__(self, model: Any, inputs: Mapping[str, Any]):
        self.model, self.inputs, self.config = model, inputs, model.config

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.model(*given, **named, **self.inputs)


class Transformer:
    """Of a cond it reads what its family `reads`; "guidance" (B,), the distilled scale, is the family's where it is not
    given. Rows whose texts differ in length are called in groups of one length, so that a row is the same alone and
    beside others: no model sees what a text was filled up with."""

    def __init__(self, id: str, family: Family, model: Any, plan: EngineChoice, images: Autoencoder, span: float):
        """id: of the checkpoint, for messages. model: on the plan's device in its dtype, frozen, in eval mode. images:
        its autoencoder. span: of its timesteps, 1000 for a flow, 1 where its timesteps are numbers of levels."""
        self.id, self.family, self.plan, self.images = id, family, plan, images
        self.model, self.config = model, model.config
        self.keys = family.reads_of(model.config)
        self.offers = offers(family, model.config)
        self.adapters = Extensions(AsUNet(family, model, span), self._engines_of)
        self.engine, self.torch = self.adapters.plain
        controls = family.controls
        self.opener = controls.opener(model, span, images, plan.device, plan.dtype) if controls else None

    def read(self, cond: Cond, shape: Sequence[int]) -> Inputs:
        """Those of the family, and "pixels" (B, 2), height and width, where the model reads them. Raises ValueError."""
        given = {key: value.to(self.plan.device) for key, value in cond.items() if self._reads(key)}
        unread, missing = set(cond) - set(given) - {"tokens"}, self.keys - {"guidance", "c_concat"} - set(given)
        if unread or missing:
            raise ValueError(f"{self.id} reads {', '.join(sorted(self.keys))} of cond, and got "
                             f"{', '.join(sorted(cond)) or 'nothing'}: encode prompts with this backbone")  # fmt: skip
        if "guidance" in self.keys and "guidance" not in given:
            given["guidance"] = given["text"].new_full((shape[0],), self.family.guidance)
        if "c_concat" in self.keys and "c_concat" not in given:
            given["c_concat"] = self.images.all_new(shape)
        if self.family.reads_pixels(self.config):
            sides = [float(side * self.images.factor) for side in shape[-2:]]
            given["pixels"] = given["text"].new_tensor([sides]).expand(shape[0], 2)
        return given

    def __call__(self, x: Tensor, t: Tensor, inputs: Inputs, edit: object | None = None, tape: bool = False) -> Tensor:
        """See `backbones.latent.Network`."""
        if edit is not None:
            return self._edited(x, t, inputs, edit)
        inputs = dict(inputs)
        lengths = inputs.pop("length", None)
        if lengths is None:
            return self._called(x, t, inputs, tape)
        out = torch.empty_like(x)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            some = {key: value[rows] for key, value in inputs.items()}
            some["text"] = some["text"][:, :length]
            out = out.index_copy(0, rows, self._called(x[rows], t[rows], some, tape))
        return out

    def _edited(self, x: Tensor, t: Tensor, inputs: Inputs, edit: object) -> Tensor:
        """All rows in one call, since an edit may couple them. Raises ValueError for texts of unlike lengths."""
        inputs = dict(inputs)
        length = inputs["text"].shape[1]
        if (inputs.pop("length", torch.tensor([length])) != length).any():
            raise ValueError(f"{self.id}: an edit of attention wants texts of one length")
        added = {key: value for key, value in inputs.items() if key != "text"}
        size = x.shape[-2] // self.family.patch, x.shape[-1] // self.family.patch
        _, engine = self.adapters.engines(added)
        with editing(self.model, self.family.attention, edit, size, length):
            return engine(x, t, inputs["text"], added, rows=0)

    def _reads(self, key: str) -> bool:
        reference = self.family.references and key.startswith(REFERENCE)
        return key in self.keys or reference or self.adapters.read(key)

    def _called(self, x: Tensor, t: Tensor, inputs: Inputs, tape: bool) -> Tensor:
        added = {key: value for key, value in inputs.items() if key != "text"}
        _, engine = self.adapters.engines(added)
        return engine(x, t, inputs["text"], added, rows=min(engine.rows, 1) if tape else None)

    def _engines_of(self, network: Any, key: str) -> tuple[TorchEngine, TorchEngine]:
        engine = TorchEngine(network, self.plan.rows)
        return engine, engine

    def extend(self, prefix: str, extension: Extension) -> None:
        """See `backbones.latent.LatentBackbone.extend`."""
        self.adapters.add(prefix, extension)

    def check_controlnet(self, where: str) -> None:
        """See `backbones.latent.Network`."""
        self._opener(where).check(where)

    def open_controlnets(self, wheres: Sequence[str]) -> tuple[Any, str]:
        """See `backbones.latent.Network`."""
        return self._opener(", ".join(wheres)).open(wheres)

    def read_map(self, where: str, shown: Tensor) -> Tensor:
        """See `backbones.latent.Network`."""
        return self._opener(where).read(where, shown)

    def _opener(self, where: str) -> Opener:
        if self.opener is None:
            raise CheckpointError(f"the ControlNet {where} fits no {self.family.name} network here")
        return self.opener


class TransformerText:
    """The text encoders of a pipeline, by its own code. Weights of words are left out: they were never shown to T5 or
    to a language model, and multiplying what those give changes more than the weight of a word."""

    weighs_words: bool | None = False
    reads_chunks = False
    learned_words = None
    clip_skips = 1

    def __init__(self, family: Family, pipe: Any):
        self.family, self.pipe = family, pipe
        self.reading = family.reading_of(pipe.transformer.config, lambda part: getattr(pipe, part, None) is not None)
        self.tokens = self.reading.tokens

    @property
    def encoders(self) -> dict[str, Any]:
        """Those that LoRA files have layers for, by the parts that these call them: CLIP's, as in diffusers."""
        parts = {"te1": "text_encoder", "te2": "text_encoder_2"}
        every = {name: getattr(self.pipe, part, None) for name, part in parts.items()}
        return {name: one for name, one in every.items() if type(one).__name__ in CLIP + CLIP_PROJECTED}

    @torch.no_grad()
    def encode(self, text: str, clip_skip: int = 1) -> dict[str, Tensor]:
        """One prompt -> its row of a cond."""
        with prompt_places.recorded(self.pipe, [encoder for encoder, _ in self.family.words]) as seen:
            row = self.family.encode(self.pipe, plain(text))
        tokens = [
            prompt_places.of_prompt(getattr(self.pipe, tokenizer), plain(text), *seen[encoder], end - begin)
            if encoder in seen else torch.full((end - begin,), text_length.NONE)
            for (encoder, tokenizer), (begin, end) in zip(self.family.words, self.parts(row["text"].shape[1]))
        ]  # fmt: skip
        row = {key: value.float() if value.is_floating_point() else value for key, value in row.items()}
        return {**row, "tokens": torch.cat(tokens)[None]}

    def words(self, tokens: Tensor) -> list[tuple[str, list[int]]]:
        """See `backbones.base.Backbone`. A word that several encoders have read alike has its places in all."""
        every = [
            prompt_places.words(getattr(self.pipe, tokenizer), tokens[begin:end], begin)
            for (_, tokenizer), (begin, end) in zip(self.family.words, self.parts(len(tokens)))
        ]
        longest = [word for word, _ in max(every, key=len)]
        if any([word for word, _ in words] != longest[: len(words)] for words in every):
            return [word for words in every for word in words]
        alike = zip_longest(*every, fillvalue=("", []))
        return [(word, [place for _, places in same for place in places]) for word, same in zip(longest, alike)]

    def parts(self, length: int) -> list[tuple[int, int]]:
        """See `backbones.base.Backbone`."""
        firsts = [getattr(self.pipe, tokenizer).model_max_length for _, tokenizer in self.family.words[:-1]]
        return list(pairwise([*accumulate(firsts, initial=0), length]))

    def between_marks(self, tokens: Tensor) -> Tensor:
        """See `backbones.base.Backbone`."""
        return tokens != text_length.NONE

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return text_length.whole(getattr(self.pipe, self.reading.part))

    def unread(self, text: str) -> str:
        """The end of a text that it has no place for, from the begin of a word; "" where it reads all."""
        return text_length.unread(self._tokenizer, plain(text), self.tokens, self.reading.around)

    def count_tokens(self, text: str) -> tuple[int, int]:
        """See `backbones.base.Backbone`."""
        return text_length.count_tokens(self._tokenizer, text, self.tokens, self.reading.around)

    def unknown_words(self, text: str) -> list[str]:
        return []
