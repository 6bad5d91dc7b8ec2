"""Every method on the embedded models, with the inputs of its one-click example: what a newcomer's first click runs.

Three steps at half the size; where Still Life is refused (a method for pixels) its sister in pixel space takes over, as
on the page.
"""

import pytest

from app.engine.method_checks import problems
from app.engine.planner import Encoder, plan
from app.forms.examples import example
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe
from conditioning.clashes import solver_clash
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import run
from tests.support.networks import embedded, with_an_example

STEPS = 3


@pytest.fixture(scope="module")
def networks():
    return {name: embedded(name) for name in ("still-life", "still-life-pixels")}


def started(method, networks):
    """The recipe of a method's example on the first network that can run it, and that network with its plan's flow."""
    refused = []
    for name, network in networks.items():
        size = network.default_size // 2
        made = example(method, size)
        own = [key for key in SAMPLERS if not solver_clash(METHODS[method], key)]
        use = Use(name=method, inputs=made.card.inputs, knobs=made.card.knobs)
        settings = {**made.settings, "steps": STEPS, "sampler": own[0]}
        recipe = Recipe.make(backbone=name, methods=(use,), **settings)
        refused = problems(recipe, network)
        if not refused:
            return recipe, network, plan(recipe, network, Encoder(network), made.images).flow
    pytest.fail(f"no embedded network runs it: {refused}")


@pytest.mark.slow
@pytest.mark.parametrize("method", with_an_example())
def test_its_example_runs(method, networks):
    recipe, network, flow = started(method, networks)
    x = run(flow, network.denoise)
    assert x.shape == (1, *network.latent_shape(recipe.width, recipe.height)) and x.isfinite().all()
    image = network.decode(x)
    assert image.shape == (1, 3, recipe.height, recipe.width) and 0 <= image.min() and image.max() <= 1
    assert image.std() > 0.02  # not one colour
