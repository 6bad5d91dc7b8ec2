"""What a person asks for, as data: checked, written into images, read again. Nothing here imports torch.

recipe      Recipe(prompt, negative, backbone, revision, width, height, sampler, schedule, steps, cfg_scale,
                   cfg_rescale, cfg_start, cfg_end, afs, stop_sigma, clip_skip, seed, count, methods, versions,
                   sampler_knobs), frozen, JSON round trip
            Recipe.make(**fields) -> Recipe                           RecipeError.problems: [Problem(field, message)]
            recipe.one(i) -> Recipe                                   the recipe of image i alone: seed + i, count 1
            recipe.to_json() / Recipe.from_json(text)
            LIMITS[field] -> Limit(low, high, step, label)            for sliders; SAMPLERS, SCHEDULES: {id: label}
            random_seed() -> int
this_machine
            Here(...), here(engine) -> Here;  differences(recipe, here) -> list[str]
method_inputs
            Use(name, knobs, inputs), one method of a recipe; inputs: text, an image's sha256, Box, Point, Degradation
solvers     KNOBS of every solver, as labels, ranges and defaults     from solvers.json, which a test holds to samplers/
png_metadata
            write(recipe) -> str                                      A1111's text, exact JSON in the last line
            read(text) -> Reading(recipe | None, exact, notes)        ours or foreign; never raises; notes in words
"""
