"""The engine: from a recipe to images, with events on the way.

`events` knows nothing of torch; all else here imports it. A page is served before torch is there: import the engine
inside a function or a thread.

    from app.engine.engine import Engine, Busy
    from app.engine.events import Queued, Preparing, Progress, Made, Finished, Failed, Cancelled

    engine = Engine("still-life")                                     # loads and warms up in its own thread
    recipe = Recipe.make(prompt="a red sphere", seed=random_seed())   # RecipeError: .problems, one per field
    run    = engine.submit(recipe)                                    # Busy when the queue is full (message in words)
    for event in run:                                                 # closing this loop's generator cancels the run
        match event:
            case Queued(position):              ...                   # 0 = next; may come several times, or never
            case Preparing(words, step, steps): ...                   # a search first, once: tuned_schedules
            case Progress(step=k, steps=n):     event.preview         # newest only, older ones are dropped unseen
            case Made(index, image, recipe):    history.add(image, recipe)    # HistoryError in words (disk full)
            case Finished():                    event.images, event.recipes, event.seconds
            case Failed(reason, field):         ...                   # field: the recipe's field to blame, or None
            case Cancelled():                   ...
    run.cancel()                                                      # from any thread; takes effect within one step

Finished, Failed or Cancelled is always the last event. Images are PIL images, RGB, with `info["parameters"]` set, so
Gradio's Image and Gallery (format="png") write the recipe into the file by themselves.

engine      Engine(backbone: str | Backbone | Callable[[], Backbone], max_rows=32, max_waiting=64,
            batch_across_runs=None, max_under_way=None)
            .submit(recipe, inputs={sha256: image}, watch=None) -> Run;  .check(recipe) -> list[Problem];  .close()
            .wait(seconds) -> bool (loaded?);  .backbone (None while loading), .name, .spent
            .status (words), .trouble (why no model could be loaded, or None), .note (about the last restart, or None)
            Run: iterable of events, .cancel(), .recipe, .done, context manager (leaving it cancels),
                 .result() -> Finished (RunError in words)
events      Queued(position), Preparing(words, step, steps, seconds_left), a search before the run (tuned_schedules),
            Progress(step, steps, sigma, previews, seconds_left, nfe, made; .preview one image or
            a sheet, uint8 (H, W, 3) or None; .fraction), Made(index, image, recipe), Failed(reason, field),
            Cancelled(), Finished(images, recipes, seconds, nfe, rows, formula)
planner     plan(recipe, backbone, encode, inputs, tuned) -> the flow of a run;  problems(recipe, backbone)
method_checks
            problems(recipe, backbone) -> list[Problem], at methods.<place>.knobs.<name> and the like
unused_settings
            unused(recipe) -> list[Problem]: what a run does not use of its recipe
attention_recorder
            AttentionRecorder(), passed as `watch`: .words, .steps, .sheet() -> all attention maps
"""
