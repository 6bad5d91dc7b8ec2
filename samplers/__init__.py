"""Samplers: one file, one solver. `SAMPLERS[key]` is called as (D, x, sigmas, cond, noise) -> Flow.

Importing this reads every file of the folder; one that does not import fails the start.
"""

from importlib import import_module
from pathlib import Path

from samplers.flow import Noise, Sampler
from samplers.schedules import SCHEDULES, Schedule
from samplers.solver import SOLVERS, Solver

for _file in sorted(Path(__file__).parent.glob("*.py")):
    if _file.stem != "__init__":
        import_module(f"samplers.{_file.stem}")

FIRST = ("euler", "heun", "dpmpp_2m", "ancestral")  # of the list on the page; the others follow by their label
SAMPLERS: dict[str, Solver] = {key: SOLVERS[key] for key in FIRST} | dict(
    sorted(SOLVERS.items(), key=lambda one: one[1].label.lower())
)

__all__ = ["SAMPLERS", "SCHEDULES", "Noise", "Sampler", "Schedule", "Solver"]
