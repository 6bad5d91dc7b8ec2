"""What the tab "Trajectory" is made of: which runs are followed, how they go, what the page and its files show.

Imports torch only where it is called for a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.catalog.prompts import EXAMPLES
from app.comparison.spec import Axis, Change, Comparison
from app.engine.events import Cancelled, Failed, Finished, Preparing
from app.errors import NotLoaded, error_message
from app.forms import axis_values, comparison_form
from app.schema.recipe import Problem, Recipe, RecipeError
from app.service.live_runs import Live
from app.service.state import AppState

MOST = 6  # runs side by side
HELD = 6  # results in memory, for their maps of attention
TICK = 0.4  # seconds between two news, at least
CONDITION = "condition"


class Stopped(RuntimeError):
    """Nothing could be followed to its end; why, in words."""


@dataclass(frozen=True)
class Way:
    """One of the ready-made: its name, what one sees."""

    title: str
    summary: str


READY = {
    CONDITION: Way("With and without the condition", "The stack, the prompt alone, and neither: where do they part?"),
    "guidance": Way("Guidance 1, 2, 4, 8", "How far stronger guidance leaves the unguided path."),
    "solvers": Way("Four solvers", "The same start and the same end, other ways between."),
    "seeds": Way("Four seeds", "Other starts: is the shape of the way the same?"),
    "steps": Way("5, 10, 20, 40 steps", "How straight a path has to be for few steps."),
}
SOLVERS = ("euler", "heun", "dpmpp_2m", "unipc")
AXES = {"": "Nothing: one run", CONDITION: "With and without the condition"}


# ---- which runs ------------------------------------------------------------------------------------------------------


def ready_list() -> str:
    """What may be followed with one click."""
    return comparison_form.ready_list(READY, "Follow the settings of Create", "Ready to follow")


def empty() -> str:
    return (
        '<div class="nw-board" data-state="empty"><h2>See how an image comes about</h2><p>A run moves from noise to a '
        "image along a nearly straight path. Follow the settings of Create with one click on the left: the states "
        "and the denoised predictions at every step, the paths in two and three dimensions, how they bend, the norm of "
        "guidance, and where runs that differ in one setting diverge.</p></div>"
    )


def choices() -> list[tuple[str, str]]:
    """What runs may differ in."""
    left_out = ("scene", "image", "backbone", "prompt_sr")
    found = [(label, key) for key, label in AXES.items()]
    return found + [(label, key) for key, label in axis_values.AXES.items() if key not in left_out]


def ready(base: Recipe, key: str) -> list[tuple[str, Recipe]]:
    """The runs of one click: (label, recipe). Raises RecipeError for an unknown one."""
    if key == CONDITION:
        return runs_of(base, CONDITION, "")
    if key == "guidance":
        return runs_of(base, "cfg_scale", "1, 2, 4, 8")
    if key == "solvers":
        return runs_of(base, "sampler", ", ".join(SOLVERS))
    if key == "seeds":
        return runs_of(base, "seed", ", ".join(str(base.seed + n) for n in range(4)))
    if key == "steps":
        return runs_of(base, "steps", "40, 20, 10, 5")
    raise RecipeError([Problem("along", f"There is no {key!r} to follow. There are: {', '.join(READY)}.")])


def with_prompt(base: Recipe, key: str) -> tuple[Recipe, str]:
    """The base of a ready-made one; with an example's prompt where it has none and the runs would be the same. And what
    is to be said of that, or ""."""
    if _has_condition(base) or key not in ("guidance", CONDITION):
        return base, ""
    return base.but(prompt=EXAMPLES[0]), f"Create has no prompt, so that of an example is followed: “{EXAMPLES[0]}”."


def runs_of(base: Recipe, along: str, values: str) -> list[tuple[str, Recipe]]:
    """The base, along one axis: (label, recipe of one image). Raises RecipeError in words, and for more than MOST."""
    base = base.model_copy(update={"count": 1})
    if not base.methods and base.prompt.strip() == base.negative.strip() and along in alike_without_prompt(base):
        what = "The prompt of Create and its negative prompt are the same" if base.prompt else "Create has no prompt"
        words = f"{what}, so all these runs would be the same. Write a prompt there first."
        raise RecipeError([Problem("along", words)])
    if along == "":
        return [(base.prompt or "no words", base)]
    axis = _conditions(base) if along == CONDITION else axis_values.axis_of(along, values)
    if len(axis.values) > MOST:
        raise RecipeError([Problem("along", f"{len(axis.values)} runs are too many to follow. Give at most {MOST}.")])
    cells = Comparison(base=base, axes=(axis,)).cells()
    wrong = next((cell for cell in cells if cell.recipe is None), None)
    if wrong is not None:
        raise RecipeError([Problem("along", f"{axis.values[wrong.place[0]].label}: {wrong.problem}")])
    return [(value.label, cell.recipe) for value, cell in zip(axis.values, cells) if cell.recipe is not None]


def alike_without_prompt(base: Recipe) -> tuple[str, ...]:
    """Along what runs are the same where prompt and negative prompt are."""
    return ("cfg_scale",) if base.prompt.strip() else ("cfg_scale", CONDITION)


def of_image(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """The run of an image that was made, and beside it those without its methods and its words, where it has any."""
    return runs_of(recipe, CONDITION if _has_condition(recipe) else "", "")


def _has_condition(recipe: Recipe) -> bool:
    return bool(recipe.methods or recipe.prompt.strip() or recipe.negative.strip())


def _conditions(base: Recipe) -> Axis:
    """The whole stack, the prompt alone, and neither; what the base lacks is left out."""
    neither = Change(label="no condition", recipe={"prompt": "", "negative": "", "cfg_scale": 1.0}, methods=())
    values = [Change(label="the whole stack" if base.methods else "the prompt")]
    if base.methods:
        values.append(Change(label="the prompt alone", methods=()))
    return Axis(name="condition", values=(*values, neither))


# ---- how they go -----------------------------------------------------------------------------------------------------


class TrajectoryJob:
    """Runs under way, all in the engine at once. `frames` tells how far they are, until all have ended."""

    def __init__(self, state: AppState, runs: list[tuple[str, Recipe]], attend: bool, visit_token: str):
        from app.engine.attention_recorder import AttentionRecorder, readable
        from app.trajectory.recorder import Recording

        self.state = state
        self.model = state.model(runs[0][1].backbone)
        try:
            backbone = state.engine(self.model.id).backbone
        except NotLoaded as error:
            raise Stopped(str(error)) from None
        attend = attend and readable(backbone)
        self.recordings = [Recording(label, recipe, AttentionRecorder() if attend else None) for label, recipe in runs]
        self.ends: list[Any] = [None] * len(runs)
        self.troubles: list[str] = []
        self.runs: list[Any] = []
        for one in self.recordings:
            try:
                self.runs.append(state.runs.submit(state.request(one.recipe, visit_token), one))
            except RecipeError as error:
                self.runs.append(None)
                self.troubles.append(f"{one.label}: {error}")

    def frames(self, tick: float) -> Iterator[dict[str, Any]]:
        """How far all of them are together, or what is found first; at most once a tick."""
        last = 0.0
        for place, run in enumerate(self.runs):
            for event in run or ():
                progress = self._steps()
                match event:
                    case Preparing(words=words, step=step, steps=of):
                        progress = {"steps": step, "of": of, "first": words}
                    case Finished():
                        self.ends[place] = event
                    case Failed(reason=reason):
                        self.troubles.append(f"{self.recordings[place].label}: {reason}")
                    case Cancelled():
                        self.troubles.append(f"{self.recordings[place].label}: cancelled.")
                if time.monotonic() - last > tick:
                    last = time.monotonic()
                    yield {"busy": [one.label for one in self.recordings], **progress}

    def _steps(self) -> dict[str, Any]:
        """Of all runs together."""
        steps = sum(min(len(one.steps), one.recipe.steps) for one in self.recordings)
        return {"steps": steps, "of": sum(one.recipe.steps for one in self.recordings), "first": ""}

    def cancel(self) -> None:
        for run in self.runs:
            if run is not None:
                run.cancel()


class LiveTrajectory(Live[dict[str, Any]]):
    """Runs that are followed in a thread of their own, whoever looks on. Its news are what the page draws; the last one
    `result`, or {"stopped": True} where there is none. patience: see Live."""

    def __init__(
        self, state: AppState, runs: list[tuple[str, Recipe]], attend: bool, visit_token: str,
        patience: float | None = None,
    ):  # fmt: skip
        super().__init__({"busy": [label for label, _ in runs], "steps": 0, "of": 0}, patience)
        self.said = ""  # beside it, in words
        self.trouble = ""  # in words, once it has ended
        self.replaced = False  # by others: then no page shows its end
        self._cancelled = threading.Event()
        self._job: TrajectoryJob | None = None
        threading.Thread(
            target=self._follow, args=(state, runs, attend, visit_token), name="trajectory", daemon=True
        ).start()

    def cancel(self) -> None:
        self._cancelled.set()
        if self._job is not None:
            self._job.cancel()

    def _follow(self, state: AppState, runs: list[tuple[str, Recipe]], attend: bool, visit_token: str) -> None:
        try:
            job = self._job = TrajectoryJob(state, runs, attend, visit_token)
            if self._cancelled.is_set():
                job.cancel()
            for frame in job.frames(TICK):
                self._tell(frame, False)
            last, self.trouble = result(state, job, visit_token), " ".join(job.troubles)
        except Exception as error:
            last = {"stopped": True}
            self.trouble = str(error) if isinstance(error, (RecipeError, Stopped)) else error_message(error)
        finally:
            if self._job is not None:
                self._job.cancel()
        self._tell(last, True)


@dataclass(frozen=True)
class FinishedRuns:
    """What was followed, for its maps of attention; of one visit."""

    visit_token: str
    runs: list[Any]


def result(state: AppState, job: TrajectoryJob, visit_token: str) -> dict[str, Any]:
    """What the page draws of the runs that ended. Raises Stopped where none did."""
    from app.trajectory import trajectory_json

    done = [
        trajectory_json.followed(one, end.images[0], end.nfe, end.own_seconds)
        for one, end in zip(job.recordings, job.ends)
        if end is not None and one.steps
    ]
    if not done:
        raise Stopped(" ".join(job.troubles) or "No run took a step that could be followed.")
    id = f"{time.time_ns():x}"
    for old in list(state.followed)[: max(0, len(state.followed) - HELD + 1)]:
        state.followed.pop(old, None)
    stem = f"trajectories/{id}/{state.sign(f'trajectory {id}')}"
    drawn = trajectory_json.trajectories(done, job.model.backbone)
    first = done[0].recording.recipe
    drawn |= {"id": id, "prompt": first.prompt, "model": job.model.name,
              "files": {"npz": f"{stem}/trajectories.npz", "csv": f"{stem}/figures.csv"}}  # fmt: skip
    state.followed[id] = FinishedRuns(visit_token, done)
    files = {"trajectories.npz": trajectory_json.archive(done), "figures.csv": trajectory_json.table(done).encode()}
    try:
        state.trajectories.keep(id, drawn, files)
    except OSError as error:
        drawn["files"] = None
        job.troubles.append(f"These runs are shown, but not kept. {error_message(error)}")
    return drawn
