"""The tasks of `bench.methods`: their inputs, ground truth, methods and measures."""

from bench.tasks import editing, panorama, placing, restoration
from bench.tasks.base import Case, Output, Row, Task, method_inputs, rows

__all__ = ["TASKS", "Case", "Output", "Row", "Task", "method_inputs", "rows"]

TASKS: dict[str, Task] = {**editing.TASKS, **restoration.TASKS, **placing.TASKS, **panorama.TASKS}
