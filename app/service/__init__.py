"""The one way to run: what the command line and the endpoints of the page's server stand on. No Gradio, no Starlette.

reading    a recipe or a comparison from JSON, its images by path or by content hash          (no torch)
checking   what is wrong with a recipe, what its run leaves unused, how many network evaluations it makes; no weights
counting   that number
messages   the events of a run and the cells of a comparison as JSON                          (no torch)
visits     which pages belong to one visit; the ids that a browser keeps as its own      (no torch)
live_runs  runs that go on while their page is reloaded                                  (no torch)
runs       Runs: check, submit and follow a run; make a comparison or resume it

runs = Runs(Engines())                                         # engines are loaded when they are first needed
request = read_recipe(text, images_in(folder))                 # request.problems: what cannot be read, at its field
runs.check(request)                                            # Check(formula, problems, unused, nfe, nfe_reason)
for event in runs.submit(request):                             # RecipeError with a problem per field; Busy
    print(as_json(event))
"""
