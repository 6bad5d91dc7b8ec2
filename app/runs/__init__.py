"""Runs: from a recipe to images, with events on the way and a history behind.

Nothing of torch is in `recipe`, `method_inputs`, `solvers`, `parameters`, `events`, `history` and `pictures`; all else
here imports it. A page is served before torch is there: import the engine inside a function or a thread.

    from app.runs import Recipe, RecipeError, Queued, Progress, Made, Finished, Failed, Cancelled
    from app.runs.engine import Engine, Busy                          # imports torch

    engine  = Engine("still-life")                                    # loads and warms up in its own thread
    history = History()                                               # folder from NINE_WAYS_OUTPUT, default ./outputs
    recipe  = Recipe.make(prompt="a red sphere", seed=random_seed())  # RecipeError: .problems, one per field
    run     = engine.submit(recipe)                                   # Busy when the queue is full (message in words)
    for event in run:                                                 # closing this loop's generator cancels the run
        match event:
            case Queued(position):              ...                   # 0 = next; may come several times, or never
            case Preparing(words, step, steps): ...                   # a search first, once: tuned_schedules
            case Progress(step=k, steps=n):     event.preview         # newest only, older ones are dropped unseen
            case Made(index, image, recipe):  history.add(image, recipe)      # HistoryError in words (disk full)
            case Finished():                    event.pictures, event.recipes, event.seconds
            case Failed(reason, field):         ...                   # field: the recipe's field to blame, or None
            case Cancelled():                   ...
    run.cancel()                                                      # from any thread; takes effect within one step

Finished, Failed or Cancelled is always the last event. Images are PIL images, RGB, with `info["parameters"]` set, so
Gradio's Image and Gallery (format="png") write the recipe into the file by themselves.

recipe      Recipe(prompt, negative, backbone, revision, width, height, sampler, schedule, steps, cfg_scale,
                   cfg_rescale, cfg_start, cfg_end, afs, stop_sigma, seed, count, methods, versions, sampler_knobs),
                   frozen, JSON round trip
            Recipe.make(**fields) -> Recipe                           RecipeError.problems: [Problem(field, message)]
            recipe.one(i) -> Recipe                                   the recipe of image i alone: seed + i, count 1
            recipe.to_json() / Recipe.from_json(text)
            LIMITS[field] -> Limit(low, high, step, label)            for sliders; SAMPLERS, SCHEDULES: {id: label}
            random_seed() -> int;  Here(...), here(engine) -> Here;  differences(recipe, here) -> list[str]
method_inputs
            Use(name, knobs, inputs), one method of a recipe; inputs: text, an image's sha256, Box, Point, Degradation
methods     problems(recipe, backbone) -> list[Problem], at methods.<place>.knobs.<name> and the like   # imports torch
attention_recorder                                                                                      # imports torch
            AttentionRecorder(), passed as `watch`: .words, .steps, .sheet() -> all attention maps
parameters  write(recipe) -> str                                      A1111's text, exact JSON in the last line
            read(text) -> Reading(recipe | None, exact, notes)        ours or foreign; never raises; notes in words
events      Queued(position), Preparing(words, step, steps, seconds_left), a search before the run (tuned_schedules),
            Progress(step, steps, sigma, previews, seconds_left, calls, made; .preview one image or
            a sheet, uint8 (H, W, 3) or None; .fraction), Made(index, image, recipe), Failed(reason, field),
            Cancelled(), Finished(images, recipes, seconds, calls, rows, stack)
engine      Engine(backbone: str | Backbone | Callable[[], Backbone], max_rows=32, max_waiting=64,
            batch_across_runs=None, max_under_way=None)
            .submit(recipe, inputs={sha256: image}, watch=None) -> Run;  .check(recipe) -> list[Problem];  .close()
            .wait(seconds) -> bool (loaded?);  .backbone (None while loading), .name, .spent
            .status (words), .trouble (why no model could be loaded, or None), .note (about the last restart, or None)
            Run: iterable of events, .cancel(), .recipe, .done, context manager (leaving it cancels),
                 .result() -> Finished (RunError in words)
history     History(folder=None): .add(image, recipe, seconds=None) -> Entry; .get(id); .delete(id);
            .search(words="", limit=24, offset=0, titles={}, among=None) -> list[Entry]; .count(words, titles, among);
            .note (words after a repair, or None); .keep_input(image) -> sha256; .input(sha256) -> image | None
            Entry(id, path, recipe, made, seconds): .picture() opens the file
pictures    open_upload(source) -> Upload(image, parameters, notes) raises PictureError (in words)
            content_hash(image) -> sha256 of size and pixels
"""

from app.runs.events import Cancelled, Event, Failed, Finished, Made, Preparing, Progress, Queued
from app.runs.history import Entry, History, HistoryError
from app.runs.method_inputs import Use
from app.runs.parameters import Reading, read, write
from app.runs.pictures import PictureError, Upload, content_hash, open_upload
from app.runs.recipe import (
    LIMITS,
    SAMPLERS,
    SCHEDULES,
    Here,
    Problem,
    Recipe,
    RecipeError,
    differences,
    here,
    random_seed,
)

__all__ = [
    "LIMITS", "SAMPLERS", "SCHEDULES", "Cancelled", "Entry", "Event", "Failed", "Finished", "Here", "History",
    "HistoryError", "Made", "PictureError", "Preparing", "Problem", "Progress", "Queued", "Reading", "Recipe",
    "RecipeError", "Upload", "Use", "content_hash", "differences", "here", "open_upload", "random_seed", "read",
    "write",
]  # fmt: skip
