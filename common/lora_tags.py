"""Files of adapters as a prompt names them, AUTOMATIC1111's way:

    <lora:detail>  <lora:detail:0.8>  <lora:detail:0.8:0.5>  <lora:detail:te=0.8:unet=0.5>  <lora:detail:0:1, 0.5:0>

The weight of all layers; that of the text encoder's and that of the network's; or, with a comma in it, a curve over the
steps (`common.curves`). A text encoder reads the prompt once: where the weight is a curve it has the strongest of its
values. `<lyco:...>` is read as `<lora:...>` is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.curves import Curve, parse

TAG = r"<\s*(?:lora|lyco)\s*:([^<>]*)>"
STRONGEST = 10.0  # weight of a file, either sign: nobody means more
WRITE = "write <lora:name:weight>, with a weight such as 0.8 or, over the steps, 0:1, 0.5:0"


@dataclass(frozen=True)
class LoraTag:
    """name: of the file, without its folder and suffix. weight: of the network's layers; text_weight: of the text
    encoder's."""

    name: str
    weight: float | Curve = 1.0
    text_weight: float = 1.0


def lora_tags(text: str) -> tuple[LoraTag, ...]:
    """Those of a text, in order. Raises ValueError, with what was given, for one that cannot be read."""
    return tuple(_read(match[0], match[1]) for match in re.finditer(TAG, text))


def without_tags(text: str) -> str:
    """What is left of the text."""
    return re.sub(TAG, "", text)


def _read(tag: str, inside: str) -> LoraTag:
    name, _, given = (part.strip() for part in inside.partition(":"))
    if not name:
        raise ValueError(f"{tag} names no file: {WRITE}")
    try:
        weight, text_weight = _weights(given)
    except ValueError as error:
        raise ValueError(f"{tag}: {error}; {WRITE}") from None
    found = [*(weight.values if isinstance(weight, Curve) else [weight]), text_weight]
    if not all(abs(one) <= STRONGEST for one in found):
        raise ValueError(f"{tag}: a weight is -{STRONGEST:g} to {STRONGEST:g}")
    return LoraTag(name, weight, text_weight)


def _weights(given: str) -> tuple[float | Curve, float]:
    """(of the network, of the text encoder)."""
    if not given:
        return 1.0, 1.0
    if "," in given:
        curve = parse(given)
        assert isinstance(curve, Curve)
        return curve, max(curve.values, key=abs)
    plain: list[float] = []
    named: dict[str, float] = {}
    for part in given.split(":"):
        word, equals, value = (one.strip() for one in part.rpartition("="))
        if equals and word not in ("te", "unet"):
            raise ValueError(f"{word}= is not read here")
        if equals:
            named[word] = float(value)
        else:
            plain.append(float(value))
    if len(plain) > 2:
        raise ValueError("it has more than two weights")
    text = named.get("te", plain[0] if plain else 1.0)
    return named.get("unet", plain[1] if len(plain) > 1 else text), text
