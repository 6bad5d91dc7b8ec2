"""A recipe: everything that decides an image, checked in plain words, the same after a round trip through JSON."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.schema.method_inputs import Use
from app.schema.solvers import KNOBS, SAMPLERS, Number, changed, knob_field, number, read_knobs, shown

SCHEDULES = {
    "native": "Automatic",
    "karras": "Karras",
    "exponential": "Exponential",
    "kl_optimal": "KL Optimal",
    "linspace": "Uniform",
    "leading": "DDIM",
    "sgm_uniform": "SGM Uniform",
    "beta": "Beta",
    "linear_quadratic": "Linear-quadratic",
    "flow_shift": "Flow, shift 3",
    "gits": "GITS",  # is found on the network first
    "ld3": "LD3",  # likewise, with the solver itself
}
TUNED = ("gits", "ld3")  # schedules for a number of steps
SEEDS = 2**64  # as many as ComfyUI has
USUAL_SEEDS = 2**32  # as many as A1111 has: a batch that begins among them stays there
#: Fields that came later, with their defaults: written where they are set only, so that recipes of before stay the same
#: text, and the cells of comparisons under the same key.
WRITTEN_IF_SET: Mapping[str, Any] = {
    "variation_seed": 0, "variation_strength": 0.0, "clip_skip": 1, "embeddings": {}, "loras": {},
    "lora_hashes": {},
}  # fmt: skip


class Limit(NamedTuple):
    """What a number may be: from `low` to `high`, both allowed, moved in `step`s by a slider; `unit` for the page."""

    low: float
    high: float
    step: float
    label: str
    unit: str = ""


LIMITS = {
    "width": Limit(16, 2048, 8, "Width", "pixels"),
    "height": Limit(16, 2048, 8, "Height", "pixels"),
    "steps": Limit(1, 150, 1, "Sampling steps"),
    "cfg_scale": Limit(0, 30, 0.5, "CFG Scale"),
    "cfg_rescale": Limit(0, 1, 0.05, "CFG rescale"),
    "cfg_start": Limit(0, 1, 0.05, "Guidance start", "of the steps"),
    "cfg_end": Limit(0, 1, 0.05, "Guidance end", "of the steps"),
    "stop_sigma": Limit(0, 1000, 0.1, "Stop at sigma"),
    "clip_skip": Limit(1, 12, 1, "Clip skip"),
    "seed": Limit(0, SEEDS - 1, 1, "Seed"),
    "count": Limit(1, 64, 1, "Batch count"),
    "variation_seed": Limit(0, SEEDS - 1, 1, "Variation seed"),
    "variation_strength": Limit(0, 1, 0.01, "Variation strength"),
}
SCHEMA = 2  # of the JSON: 1 had "sampler": "<name>", and "eta" beside it
LONGEST_TEXT = 10_000


class Problem(NamedTuple):
    """One thing wrong with one field, in words a person can act on."""

    field: str
    message: str


class RecipeError(ValueError):
    """A recipe that cannot be. `problems` holds one entry per field."""

    def __init__(self, problems: Collection[Problem]):
        self.problems = list(problems)
        super().__init__(" ".join(p.message for p in self.problems))


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("recipe", "{message}", {"message": message})


def _number(name: str, whole: bool) -> BeforeValidator:
    low, high, _, label, unit = LIMITS[name]

    def check(value: Any) -> float | int:
        try:
            return number(label, value, low, high, whole, unit)
        except ValueError as error:
            raise _wrong(str(error)) from None

    return BeforeValidator(check)


def _text(label: str) -> BeforeValidator:
    def check(value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _wrong(f"{label}: {shown(value)} is not text. Write words.")
        if len(value) > LONGEST_TEXT:
            raise _wrong(f"{label}: {len(value):,} characters are too many. At most {LONGEST_TEXT:,} are read.")
        return value.replace("\0", "").encode("utf-8", "replace").decode()  # can be stored: no NUL, no half a letter

    return BeforeValidator(check)


def _choice(label: str, allowed: Mapping[str, str]) -> BeforeValidator:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _wrong(f"{label}: {shown(value)} is unknown. Choose one of: {', '.join(allowed)}.")
        return value

    return BeforeValidator(check)


def _switch(label: str) -> BeforeValidator:
    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise _wrong(f"{label}: {shown(value)} is neither on nor off.")
        return value

    return BeforeValidator(check)


def schedule_label(schedule: str, steps: int) -> str:
    """A schedule in words; one that was found for a number of steps says for how many."""
    label = SCHEDULES.get(schedule, schedule)
    return f"{label} ({steps} steps)" if schedule in TUNED else label


class Recipe(BaseModel):
    """Everything that decides `count` images; image i is drawn with seed + i (modulo 2^32; modulo 2^64 from a
    seed that is larger).

    `variation_strength`: how far the noise that a run starts from lies on the way from that of the seed to that of
    `variation_seed` (`samplers.noise.varied`). Above 0 the images of a batch share the seed, and image i has
    variation_seed + i, as in A1111. `cfg_start` and `cfg_end` are parts of the sampling (0 = first step, 1 = after the
    last): outside of them no unconditional pass is made. `sampler_knobs`: all those of the solver; in JSON they stand
    beside its name, {"sampler": {"name": "ancestral", "knobs": {"eta": 0.5}}}, at their defaults where they are not
    given. `afs`: the first step costs no network evaluation. `stop_sigma`: the run ends at this noise level with the
    denoised prediction there; 0 is the whole run. `clip_skip`: which layer of CLIP's text encoder is read, counted from
    the last, 1 (A1111). `revision`, `versions`, `embeddings` (words of textual inversion in its texts, with the sha256
    of their files), `loras` (LoRA files by their names, likewise) and `lora_hashes` (the same files by A1111's hash,
    the sha256 of their tensors, or the begin of it) are empty until a machine has made the image.
    `unused` names fields that the run does not use: these stand at their defaults and are not written
    (`app.engine.unused_settings`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[str, _text("Prompt")] = ""
    negative: Annotated[str, _text("Negative prompt")] = ""
    backbone: Annotated[str, _text("Model")] = "still-life"
    revision: Annotated[str, _text("Revision")] = ""
    width: Annotated[int, _number("width", True)] = 128
    height: Annotated[int, _number("height", True)] = 128
    sampler: Annotated[str, _choice("Sampling method", SAMPLERS)] = "euler"
    sampler_knobs: dict[str, Number] = Field(default={}, validate_default=True)
    schedule: Annotated[str, _choice("Schedule type", SCHEDULES)] = "native"
    steps: Annotated[int, _number("steps", True)] = 20
    cfg_scale: Annotated[float, _number("cfg_scale", False)] = 4.0
    cfg_rescale: Annotated[float, _number("cfg_rescale", False)] = 0.0
    cfg_start: Annotated[float, _number("cfg_start", False)] = 0.0
    cfg_end: Annotated[float, _number("cfg_end", False)] = 1.0
    afs: Annotated[bool, _switch("Analytical first step")] = False
    stop_sigma: Annotated[float, _number("stop_sigma", False)] = 0.0
    clip_skip: Annotated[int, _number("clip_skip", True)] = 1
    seed: Annotated[int, _number("seed", True)] = 0
    count: Annotated[int, _number("count", True)] = 1
    variation_seed: Annotated[int, _number("variation_seed", True)] = 0
    variation_strength: Annotated[float, _number("variation_strength", False)] = 0.0
    methods: tuple[Use, ...] = ()
    versions: dict[str, str] = {}
    embeddings: dict[str, str] = {}
    loras: dict[str, str] = {}
    lora_hashes: dict[str, str] = {}
    unused: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _solver_apart(cls, given: Any) -> Any:
        """The solver's name and its knobs; also from JSON of schema 1, where "eta" was a field of every recipe."""
        return apart(given) if isinstance(given, Mapping) else given

    @field_validator("sampler_knobs", mode="before")
    @classmethod
    def _all_knobs(cls, given: Any, info: ValidationInfo) -> Any:
        if "sampler" not in info.data:  # which is what is wrong
            return {}
        if not isinstance(given, Mapping):
            raise _wrong(f'Settings of the sampling method: {shown(given)} names none. Give them as {{"eta": 0.5}}.')
        knobs, wrong = read_knobs(info.data["sampler"], given)
        if wrong:
            raise PydanticCustomError("knobs", "{message}", {"message": " ".join(wrong.values()), "wrong": wrong})
        return knobs

    @model_validator(mode="after")
    def _interval(self) -> Recipe:
        if self.cfg_start > self.cfg_end:
            raise _wrong(
                f"Guidance start: {self.cfg_start:g} lies after the guidance end {self.cfg_end:g}. "
                "Give a start that is not larger than the end."
            )
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What a run does not use is not written, nor WRITTEN_IF_SET at its defaults; the knobs stand beside the
        solver's name."""
        fields = handler(self)
        knobs = fields.pop("sampler_knobs", {})
        if "sampler" in fields:
            fields["sampler"] = {"name": fields["sampler"], "knobs": knobs}
        left_out = {*self.unused} or {"unused"}
        left_out |= {name for name, value in WRITTEN_IF_SET.items() if fields.get(name) == value}
        return {"schema": SCHEMA} | {name: value for name, value in fields.items() if name not in left_out}

    @classmethod
    def make(cls, **fields: Any) -> Recipe:
        """The recipe of these fields. Raises RecipeError with one Problem per wrong field."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise RecipeError(problems_of(error)) from None

    def but(self, **fields: Any) -> Recipe:
        """This recipe with other values for some fields, checked again; of what it uses nothing is known then. Another
        solver begins at its own defaults."""
        return type(self).make(**{**self.model_dump(), "unused": (), **fields})

    def one(self, index: int) -> Recipe:
        """The recipe of image `index` alone."""
        counted = "variation_seed" if self.variation_strength else "seed"
        first = getattr(self, counted)
        seeds = USUAL_SEEDS if first < USUAL_SEEDS else SEEDS
        return self.model_copy(update={counted: (first + index) % seeds, "count": 1})

    @property
    def solver(self) -> str:
        """The solver, with what is set of its first and last step, in the notation of `conditioning.compose`."""
        text = f"afs({self.sampler})" if self.afs else self.sampler
        return f"stopping_at({text}, {self.stop_sigma:g})" if self.stop_sigma else text

    @property
    def knobs_set(self) -> dict[str, Number]:
        """The solver's knobs that do not stand at their defaults."""
        return changed(self.sampler, self.sampler_knobs)

    def to_json(self) -> str:
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Back from `to_json`. Raises RecipeError, also for text that is no JSON."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise RecipeError(problems_of(error)) from None


def apart(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recipe, with the solver's name in "sampler" and its knobs in "sampler_knobs". Raises
    PydanticCustomError.

    The "eta" of schema 1 becomes a knob where the solver has one; of the others it changed nothing, and is left out.
    """
    fields = dict(given)
    schema, eta = fields.pop("schema", 1), fields.pop("eta", None)
    if schema not in range(1, SCHEMA + 1):
        raise _wrong(f"schema: {shown(schema)} is not read here. Give a recipe of schema 1 to {SCHEMA}.")
    sampler, knobs = fields.get("sampler", "euler"), fields.get("sampler_knobs", {})
    if isinstance(sampler, Mapping):
        if "name" not in sampler or set(sampler) - {"name", "knobs"}:
            raise _wrong('sampler: give {"name": ..., "knobs": {...}}, or its name alone.')
        beside = sampler.get("knobs", {})
        sampler = fields["sampler"] = sampler["name"]
        if beside:
            knobs = {**beside, **knobs} if isinstance(beside, Mapping) and isinstance(knobs, Mapping) else beside
    if eta is not None and isinstance(sampler, str) and "eta" in KNOBS.get(sampler, {}) and isinstance(knobs, Mapping):
        knobs = {**knobs, "eta": eta}
    if isinstance(unused := fields.get("unused"), list | tuple) and "eta" in unused:
        fields["unused"] = [name for name in unused if name != "eta"]
    return fields | ({"sampler_knobs": knobs} if knobs else {})


def problems_of(error: ValidationError) -> list[Problem]:
    """All mistakes that pydantic found, in words at their fields."""
    found: list[Problem] = []
    for one in error.errors(include_url=False):
        wrong = one.get("ctx", {}).get("wrong") if one["type"] == "knobs" else None
        found += [Problem(knob_field(name), words) for name, words in wrong.items()] if wrong else [problem_of(one)]
    return found


def problem_of(error: Any) -> Problem:
    """A mistake that pydantic found, in words at its field."""
    where = str(error["loc"][0]) if error["loc"] else "cfg_start" if "Guidance start" in error["msg"] else "recipe"
    if where == "methods":  # methods, 0, inputs, regions, ...: the field of the page
        where = ".".join(str(part) for part in error["loc"][:4])
    if not error["loc"] and error["msg"].startswith(("schema:", "sampler:")):
        where = error["msg"].partition(":")[0]
    if where == "sampler_knobs":
        where = "sampler"
    if error["type"] == "recipe":
        return Problem(where, error["msg"])
    if error["type"] == "extra_forbidden":
        return Problem(where, f"{where}: there is no such field. There are: {', '.join(Recipe.model_fields)}.")
    what = " ".join(map(str, error["loc"][3 if where.count(".") == 3 else 0 :]))
    return Problem(where, f"{what or 'Recipe'}: {plain_words(error)}.")


def plain_words(error: Any) -> str:
    """What pydantic found, in words of ours, to follow the name of the field."""
    kind, limits = error["type"], error.get("ctx", {})
    most, least = limits.get("max_length"), limits.get("min_length")
    known = {
        "missing": "this is missing",
        "extra_forbidden": "there is no such field",
        "string_type": "give a text",
        "string_too_long": f"give at most {most} characters",
        "too_long": f"give at most {most}, not {limits.get('actual_length')}",
        "too_short": f"give at least {least}",
        "json_invalid": "this is no JSON",
        "bool_type": "give true or false",
        "bool_parsing": "give true or false",
        "value_error": str(limits.get("error", error["msg"])),
    }
    if kind in known:
        return known[kind]
    if kind.startswith(("int_", "float_", "finite_number")):
        return "give a number"
    if kind.endswith("_type"):  # a list where an object belongs, and the like
        return f"give {'a list' if kind in ('list_type', 'tuple_type') else 'an object'}"
    return str(error["msg"]).rstrip(".")


def random_seed() -> int:
    """A seed nobody chose, 0 to 2^32 - 1."""
    return secrets.randbelow(USUAL_SEEDS)
