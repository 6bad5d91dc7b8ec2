"""The `parameters` text of an image, as AUTOMATIC1111 and its readers know it, with the exact recipe at its end.

    a red sphere
    Negative prompt: blurry
    Steps: 20, Sampler: Euler, Schedule type: Karras, CFG scale: 4, Seed: 7, Size: 128x128, Model: still-life, ...,
    Version: Nine Ways 0.2.0, Nine Ways: "{...the recipe as JSON, quoted...}"      (one line)

Reading never executes, never raises, and says what it did not understand.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

from app.schema.foreign_names import is_nearly, sampler_named, schedule_named, schedule_of
from app.schema.recipe import SAMPLERS, SCHEDULES, SCHEMA, WRITTEN_IF_SET, Recipe, RecipeError, apart
from app.schema.solvers import KNOBS, knob_label, knob_names, knob_value, read_knob
from app.version import VERSION
from backbones.names import name_of
from common.text import one_line
from common.weighted_text import HYPERNET

A1111 = ("Eta", "Sigma churn", "Sigma noise", "Sigma tmin", "Sigma tmax")  # said there for any sampler
LONGEST = 200_000  # characters; a longer text is not read
_NEGATIVE = "Negative prompt:"
#: A key, and its value: quoted, a number that may have a decimal comma, or what reaches to the next comma.
_PAIR = re.compile(
    r'\s*+(\w[\w \-/]{0,60}+):\s*+("(?:\\.|[^\\"])*+"|-?\d++,\d++(?=\s*+(?:,|$))|[^,]*+)(?:,|$)'
)
_JSON_FIELDS = {  # of the JSON that Fooocus, SwarmUI and others write -> the keys of A1111's line
    "steps": "Steps", "sampler": "Sampler", "sampler_name": "Sampler", "scheduler": "Schedule type", "seed": "Seed",
    "guidance_scale": "CFG scale", "cfgscale": "CFG scale", "cfg_scale": "CFG scale", "cfg": "CFG scale",
    "width": "Size-1", "height": "Size-2", "model": "Model", "base_model": "Model",
    "clip_skip": "Clip skip", "variationseed": "Variation seed", "variationseedstrength": "Variation seed strength",
}  # fmt: skip
_HARMLESS = ("Version", "Batch size", "Batch pos", "TI hashes")  # change nothing of this image, or are in the prompt
_NO_MARKS = re.compile("[:,]")  # taken out of the names of LoRA files, as A1111 does
_LORA_HASH = re.compile(r"\s*+([^:,]++):\s*+([0-9a-fA-F]{8,64})\s*+(?:,|$)")

DAMAGED = "The exact recipe in the image is damaged; the readable settings were used."


@dataclass(frozen=True)
class ParsedMetadata:
    """What a text gave: the recipe (None where nothing was understood), whether it is exactly ours, notes in words."""

    recipe: Recipe | None
    exact: bool = False
    notes: tuple[str, ...] = ()


def write(recipe: Recipe) -> str:
    """The text for an image's `parameters`; `read(write(recipe)).recipe == recipe`, but for a model that is named by
    its path: it is written as `backbones.names.name_of` calls it, beside its revision."""
    rows: dict[str, Any] = {
        "Steps": recipe.steps,
        "Sampler": "" if "sampler" in recipe.unused else SAMPLERS[recipe.sampler],
        "Schedule type": SCHEDULES[recipe.schedule],
        "CFG scale": f"{recipe.cfg_scale:g}",
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}",
        "Model hash": recipe.revision[:10],
        "Model": name_of(recipe.backbone),
        "CFG rescale": f"{recipe.cfg_rescale:g}" if recipe.cfg_rescale else "",
        "Guidance start": f"{recipe.cfg_start:g}" if recipe.cfg_start > 0 else "",
        "Guidance end": f"{recipe.cfg_end:g}" if recipe.cfg_end < 1 else "",
        **{knob_label(name): knob_value(value) for name, value in recipe.knobs_set.items()},
        "Clip skip": recipe.clip_skip if recipe.clip_skip > 1 else "",
        "TI hashes": ", ".join(f"{name}: {digest[:12]}" for name, digest in recipe.embeddings.items()),
        "Lora hashes": ", ".join(f"{_NO_MARKS.sub('', name)}: {digest[:12]}" for name, digest
                                 in recipe.lora_hashes.items()),
        "First step": "analytical" if recipe.afs else "",
        "Stop at sigma": f"{recipe.stop_sigma:g}" if recipe.stop_sigma else "",
        "Variation seed": recipe.variation_seed if recipe.variation_strength else "",
        "Variation seed strength": f"{recipe.variation_strength:g}" if recipe.variation_strength else "",
        "Batch size": recipe.count if recipe.count > 1 else "",
        "Methods": " + ".join(use.name for use in recipe.methods),
        "Version": f"Nine Ways {recipe.versions.get('nine-ways', VERSION)}",
        "Nine Ways": recipe.model_copy(update={"backbone": name_of(recipe.backbone)}).to_json(),
    }
    lines = [recipe.prompt] + ([f"{_NEGATIVE} {recipe.negative}"] if recipe.negative else [])
    return "\n".join([*lines, ", ".join(f"{key}: {_quoted(str(v))}" for key, v in rows.items() if v != "")])


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:"\n\r]', value) else value


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return value.strip()


def read(text: object) -> ParsedMetadata:
    """The recipe in a `parameters` text: exactly where it is ours, as well as possible where it is foreign."""
    if not isinstance(text, str) or not text.strip():
        return ParsedMetadata(None, notes=("The image carries no settings.",))
    if len(text) > LONGEST:
        note = f"The settings are {len(text):,} characters long; at most {LONGEST:,} are read."
        return ParsedMetadata(None, notes=(note,))
    lines = text.strip().replace("\r\n", "\n").split("\n")
    place, pairs = _settings_line(lines)
    if "Nine Ways" in pairs:
        reading = read_json(pairs["Nine Ways"])
        if reading.recipe is not None:
            return reading
        notes = reading.notes
    else:
        notes = ()
    if not pairs and (found := _other_json(text)) is not None:
        return found
    behind = [line.partition(":")[0].strip() for line in lines[place + 1 :]]
    foreign = _foreign(lines[:place], pairs, behind)
    return ParsedMetadata(foreign.recipe, False, notes + foreign.notes)


def _settings_line(lines: list[str]) -> tuple[int, dict[str, str]]:
    """The place of the line of settings and what it says; (len(lines), {}) where there is none.

    It is the last line that says three things or more, as A1111 has it, or begins with the steps: extensions write
    lines of their own behind it.
    """
    for place in range(len(lines) - 1, -1, -1):
        pairs = {key.strip(): _unquoted(value) for key, value in _PAIR.findall(lines[place])}
        begins = lines[place].startswith("Steps: ") and len(pairs) > 1
        if begins or "Nine Ways" in pairs or (len(pairs) > 2 and place == len(lines) - 1):
            return place, pairs
    return len(lines), {}


def _other_json(text: str) -> ParsedMetadata | None:
    """The settings of tools that write them as JSON; None for what is no such JSON."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(fields, dict) and isinstance(fields.get("sui_image_params"), dict):
        fields = fields["sui_image_params"]
    if not isinstance(fields, dict) or not isinstance(fields.get("prompt"), str):
        return None
    lines = [fields.pop("prompt")]
    for key in ("negative_prompt", "negativeprompt"):
        if isinstance(negative := fields.pop(key, ""), str) and negative:
            lines.append(f"{_NEGATIVE} {negative}")
    if size := re.fullmatch(r"\(?(\d+)\s*[,x]\s*(\d+)\)?", str(fields.pop("resolution", ""))):
        fields["width"], fields["height"] = size.groups()
    plain = {name: value for name, value in fields.items() if isinstance(value, (str, int, float))}
    pairs = {_JSON_FIELDS.get(name, name): str(value) for name, value in plain.items()}
    for name in ("version", "swarm_version"):
        pairs.pop(name, None)
    return _foreign(lines, pairs, [name for name in fields if name not in plain])


def read_json(text: str) -> ParsedMetadata:
    """The recipe in our JSON, also of another version of it: what holds, and notes on the rest. Never raises."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return ParsedMetadata(None, notes=(DAMAGED,))
    if not isinstance(fields, dict):
        return ParsedMetadata(None, notes=(DAMAGED,))
    notes = []
    if isinstance(fields.get("backbone"), str):
        fields["backbone"] = name_of(fields["backbone"])  # a path, in images of before
    if fields.get("schema", 1) not in range(1, SCHEMA + 1):
        fields.pop("schema")
        notes = ["Written by a newer version of Nine Ways: what is known here was read."]
    newer = [name for name in fields if name not in {*Recipe.model_fields, "schema", "eta"}]
    recipe, wrong = _best({k: v for k, v in fields.items() if k not in newer})
    notes += wrong
    unused = fields["unused"] if isinstance(fields.get("unused"), list) else []
    left_out = ["unused", "sampler_knobs", *WRITTEN_IF_SET, *unused]
    if missing := [name for name in Recipe.model_fields if name not in fields and name not in left_out]:
        notes.append(f"Not said, so the default is taken: {', '.join(missing)}.")
    if newer:
        notes.append(f"Settings of another version of Nine Ways were left out: {', '.join(map(one_line, newer))}.")
    return ParsedMetadata(recipe, not notes, tuple(notes))


def _foreign(lines: list[str], pairs: dict[str, str], behind: list[str]) -> ParsedMetadata:
    """lines: of the prompts. pairs: the settings. behind: names of what else is said, which is not read."""
    if not pairs and lines[0].lstrip().startswith(("{", "[", "<")):
        return ParsedMetadata(None, notes=("The settings have a form that is not read here (a workflow or markup).",))
    start = next((i for i, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    fields: dict[str, Any] = {"prompt": "\n".join(lines[:start]).strip()}
    negative = "\n".join(lines[start:])[len(_NEGATIVE) :].strip()
    if negative:
        fields["negative"] = negative
    notes: list[str] = [] if pairs else ["Only a prompt was found."]
    rest = dict(pairs)
    rest.pop("Nine Ways", None)

    for key, name in (
        ("Steps", "steps"), ("CFG scale", "cfg_scale"), ("Seed", "seed"), ("CFG rescale", "cfg_rescale"),
        ("Clip skip", "clip_skip"),
        ("Guidance start", "cfg_start"), ("Guidance end", "cfg_end"), ("Variation seed", "variation_seed"),
        ("Variation seed strength", "variation_strength"), ("Variation strength", "variation_strength"),  # of SD.Next
    ):  # fmt: skip
        if key in rest:
            fields[name] = rest.pop(key)
    if size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", rest.get("Size", "")):
        fields["width"], fields["height"] = size.groups()
        rest.pop("Size")
    for key, name in (("Size-1", "width"), ("Size-2", "height")):
        if key in rest:
            fields[name] = rest.pop(key)
    notes += _sampling(rest, fields, rest.get("Version", "").startswith("Nine Ways"))
    notes += _knobs(rest, fields)
    model = rest.pop("Model", "")
    model_hash = rest.pop("Model hash", "")
    if model == "still-life":
        fields["backbone"] = model
    elif model or model_hash:
        notes.append(f"Made with the model {one_line(model or model_hash)}; here the chosen model takes the settings.")
    if hashes := dict(_LORA_HASH.findall(rest.get("Lora hashes", ""))):
        fields["lora_hashes"] = {name.strip(): digest.lower() for name, digest in hashes.items()}
        rest.pop("Lora hashes")
    for key in _HARMLESS:
        rest.pop(key, None)
    if "Denoising strength" in rest and "Hires upscale" not in rest:
        rest.pop("Denoising strength")
        notes.append("Made from another image, which is not in the file: add SDEdit (image to image) and give it.")
    if re.search(HYPERNET, fields["prompt"] + fields.get("negative", "")):
        notes.append("Adapters such as <hypernet:...> in the prompt are not loaded here: expect another image.")
    recipe, problems = _best(fields)
    unknown = [*rest, *filter(None, behind)]
    if unknown:
        more = " ..." if len(unknown) > 12 else ""
        notes.append(f"Not understood: {', '.join(one_line(key) for key in unknown[:12])}{more}.")
    return ParsedMetadata(recipe, False, tuple(notes + problems))


def _sampling(rest: dict[str, str], fields: dict[str, Any], ours: bool) -> list[str]:
    """Sampler and schedule, taken out of the rest. ours: whether the names are those of this app."""
    if "Sampler" not in rest and "Schedule type" not in rest:
        return []
    sampler, schedule, notes = rest.pop("Sampler", ""), rest.pop("Schedule type", None), []
    if sampler and (key := sampler_named(sampler)):
        fields["sampler"] = key
        if is_nearly(sampler):
            notes.append(f"Sampling method {one_line(sampler)}: {SAMPLERS[key]}, the nearest here, is taken.")
    elif sampler:
        notes.append(f"Sampling method {one_line(sampler)} is not here; {SAMPLERS['euler']} is taken.")
    known = schedule_named(schedule or "") if ours else schedule_of(sampler, schedule)
    if known:
        fields["schedule"] = known
        if not ours and schedule is None and known == "linspace":
            notes.append(f"No schedule type is named: {SCHEDULES[known]} is what A1111 takes then.")
    elif schedule:
        notes.append(f"Schedule type {one_line(schedule)} is not here; {SCHEDULES['native']} is taken.")
    return notes


def _knobs(rest: dict[str, str], fields: dict[str, Any]) -> list[str]:
    """What the text says of the solver's knobs, taken out of the rest."""
    sampler, knobs, notes = fields.get("sampler", "euler"), {}, []
    for name in knob_names():
        if (label := knob_label(name)) not in rest or (name not in KNOBS[sampler] and label not in A1111):
            continue
        text = rest.pop(label)
        try:
            knobs[name] = read_knob(sampler, name, {"on": True, "off": False}.get(text, text))
        except ValueError as error:
            notes.append(f"{error} It is left out.")
    if knobs:
        fields["sampler_knobs"] = knobs
    return notes


def _best(fields: dict[str, Any]) -> tuple[Recipe, list[str]]:
    """The recipe with every field that holds, and in words those that do not."""
    notes: list[str] = []
    try:
        fields = apart(fields)
    except PydanticCustomError:
        pass  # said below, at its field
    while True:
        try:
            return Recipe.make(**fields), notes
        except RecipeError as error:
            known = len(fields)
            for problem in error.problems:
                notes.append(f"{problem.message} The default is taken.")
                head, _, knob = problem.field.partition(".knobs.")
                knobs = fields.get("sampler_knobs")
                if head == "sampler" and isinstance(knobs, dict) and knob in knobs:
                    fields = {**fields, "sampler_knobs": {k: v for k, v in knobs.items() if k != knob}}
                    known = -1
                    continue
                gone = {head.partition(".")[0], *(("sampler_knobs",) if head == "sampler" else ())}
                fields = {k: v for k, v in fields.items() if k not in gone}
                if problem.field == "cfg_start":
                    fields.pop("cfg_end", None)
            if len(fields) == known:
                fields = {}
