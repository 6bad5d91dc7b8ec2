"""The tasks of `bench.methods`: what is given in each, what is true, which methods take part, how they are measured."""

from bench.tasks import editing, panorama, placing, restoration
from bench.tasks.base import Case, Made, Row, Task, inputs, rows

__all__ = ["TASKS", "Case", "Made", "Row", "Task", "inputs", "rows"]

TASKS: dict[str, Task] = {**editing.TASKS, **restoration.TASKS, **placing.TASKS, **panorama.TASKS}
