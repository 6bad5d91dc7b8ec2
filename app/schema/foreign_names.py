"""Samplers and schedules by the names that other tools write: the one reader of such names.

A1111 and Forge write labels, ComfyUI and SD.Next keys. What a name leaves open is what A1111 takes then (its
modules/sd_samplers_kdiffusion.py and sd_samplers_timesteps.py).
"""

from __future__ import annotations

from app.schema.recipe import SAMPLERS, SCHEDULES

_SAMPLERS = {label.lower(): name for name, label in SAMPLERS.items()} | {name: name for name in SAMPLERS} | {
    "ddim": "euler", "ddpm": "ancestral", "k_euler": "euler", "k_euler_a": "ancestral", "euler_ancestral": "ancestral",
    "euler ancestral": "ancestral", "k_heun": "heun", "plms": "ipndm", "pndm": "ipndm", "ipndm_v": "lms",
    "k_lms": "lms", "dpm_2": "dpm_solver_2", "k_dpm_2": "dpm_solver_2", "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpm_2_ancestral": "dpm_solver_2_a", "k_dpm_2_a": "dpm_solver_2_a", "dpmpp_2s_ancestral": "dpmpp_2s_a",
    "k_dpmpp_2m": "dpmpp_2m", "k_dpmpp_sde": "dpmpp_sde", "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde", "dpm++ 2m sde heun": "dpmpp_2m_sde", "uni_pc": "unipc", "uni_pc_bh2": "unipc",
}  # fmt: skip
_SCHEDULES = {label.lower(): name for name, label in SCHEDULES.items()} | {name: name for name in SCHEDULES} | {
    "normal": "linspace", "simple": "native", "turbo": "native", "polyexponential": "exponential",
    "ddim_uniform": "leading",
}  # fmt: skip
_NEARLY = ("plms", "pndm", "dpm++ 2m sde heun")  # of the same kind as what is taken for them, not the same
_IN_NAMES = ("karras", "exponential")  # A1111 named these schedules at the end of a sampler's name before version 1.9
_OF_TIMESTEPS = ("ddim", "plms", "ddim cfg++")  # have a schedule of their own, whatever schedule is named
_AUTOMATIC = {
    "karras": ("dpm++ 2m", "dpm++ sde", "dpm++ 2s a", "dpm2", "dpm2 a", "restart"),
    "exponential": ("dpm++ 2m sde", "dpm++ 2m sde heun", "dpm++ 3m sde"),
}


def sampler_named(words: str) -> str | None:
    """The key of the sampler; None where it is not here."""
    return _SAMPLERS.get(_split(words)[0])


def schedule_named(words: str) -> str | None:
    """The key of the schedule; None where it is not here."""
    return _SCHEDULES.get(words.strip().lower())


def schedule_in(sampler: str) -> str | None:
    """The key of the schedule that a sampler's name says: at its end, "DPM++ 2M Karras", or as DDIM has its own; None
    where it says none."""
    name, schedule = _split(sampler)
    return "leading" if name in _OF_TIMESTEPS else schedule


def is_nearly(sampler: str) -> bool:
    """Whether the sampler that is taken for this name is of the same kind only."""
    return _split(sampler)[0] in _NEARLY


def schedule_of(sampler: str, schedule: str | None) -> str | None:
    """The key of the schedule that A1111 runs under these names of a sampler and a schedule, None where no schedule is
    named. None where it is not here."""
    name, in_name = _split(sampler)
    if name in _OF_TIMESTEPS:
        return "leading"
    if schedule is None:
        return in_name or "linspace"
    if schedule.strip().lower() != "automatic":
        return schedule_named(schedule)
    return in_name or next((key for key, names in _AUTOMATIC.items() if name in names), "linspace")


def _split(sampler: str) -> tuple[str, str | None]:
    """A sampler's name without the schedule at its end, and that schedule."""
    words = sampler.strip().lower()
    for schedule in _IN_NAMES:
        if words.endswith(f" {schedule}"):
            return words.removesuffix(f" {schedule}"), schedule
    return words, None
