'''Runs: from a recipe to pictures, with events on the way and a history behind.

Nothing imported here (or from recipe, parameters, events, history, pictures) imports torch; only `app.runs.engine` does.
A page is served before torch is there: import the engine inside a function or a thread.

    from app.runs import Recipe, RecipeError, Queued, Progress, Made, Finished, Failed, Cancelled
    from app.runs.engine import Engine, Busy                          # imports torch

    engine  = Engine("still-life")                                    # loads and warms up in its own thread
    history = History()                                               # folder from NINE_WAYS_OUTPUT, default ./outputs
    recipe  = Recipe.make(prompt="a red sphere", seed=random_seed())  # RecipeError: .problems = [Problem(field, message)]
    run     = engine.submit(recipe)                                   # Busy when the queue is full (message in words)
    for event in run:                                                 # closing this loop's generator cancels the run
        match event:
            case Queued(position):              ...                   # 0 = next; may come several times, or never
            case Progress(step=k, steps=n):     event.preview         # newest only, older ones are dropped unseen
            case Made(index, picture, recipe):  history.add(picture, recipe)      # HistoryError in words (disk full)
            case Finished():                    event.pictures, event.recipes, event.seconds
            case Failed(reason, field):         ...                   # field: the recipe's field to blame, or None
            case Cancelled():                   ...
    run.cancel()                                                      # from any thread; takes effect within one step

Finished, Failed or Cancelled is always the last event. Pictures are PIL images, RGB, with `info["parameters"]` set, so
Gradio's Image and Gallery (format="png") write the recipe into the file by themselves.

recipe      Recipe(prompt, negative, backbone, revision, width, height, sampler, schedule, steps, cfg_scale, cfg_rescale,
                   cfg_start, cfg_end, seed, count, methods, versions), frozen, JSON round trip
            Recipe.make(**fields) -> Recipe                           raises RecipeError (problems in words, per field)
            recipe.one(i) -> Recipe                                   the recipe of picture i alone: seed + i, count 1
            recipe.to_json() / Recipe.from_json(text)
            LIMITS[field] -> Limit(low, high, step, label)            for sliders; SAMPLERS, SCHEDULES: {id: label}
            random_seed() -> int;  Here(...), here(engine) -> Here;  differences(recipe, here) -> list[str]
parameters  write(recipe) -> str                                      A1111's text, exact JSON in the last line
            read(text) -> Reading(recipe | None, exact, unknown)      ours or foreign; never raises
events      Queued(position), Progress(step, steps, sigma, previews, seconds_left, calls, made; .preview one picture or
            a sheet, uint8 (H, W, 3) or None; .fraction), Made(index, picture, recipe), Failed(reason, field), Cancelled(),
            Finished(pictures, recipes, seconds, calls, rows, stack)
engine      Engine(backbone: str | Backbone | Callable[[], Backbone], max_rows=None, max_waiting=64, company=None)
            .submit(recipe, inputs={sha256: image}) -> Run;  .check(recipe) -> list[Problem];  .close();  .wait(seconds) -> bool
            .backbone (None while loading), .status (words), .note (words about the last restart, or None)
            Run: iterable of events, .cancel(), .recipe, .done, context manager (leaving it cancels), .result() -> Finished
history     History(folder=None): .add(picture, recipe, seconds=None) -> Entry; .search(words="", limit=24, offset=0)
            -> list[Entry]; .count(words) -> int; .get(id); .delete(id); .note (words, e.g. after a repair, or None)
            .keep_input(picture) -> sha256; .input(sha256) -> picture | None
            Entry(id, path, recipe, made, seconds): .picture() opens the file
pictures    open_upload(source) -> Upload(picture, parameters, notes) raises PictureError (in words)
            content_hash(picture) -> sha256 of size and pixels
'''
