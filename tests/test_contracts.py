"""What holds for every sampler and every method, whoever writes the next one (docs/design.md, section 2).

All on the oracle, in float64 where bits are compared. A method that the oracle cannot run (it needs attention layers,
or a trained adapter) is left to the tests of its own folder.
"""

import ast
from pathlib import Path

import pytest
import torch

import conditioning  # noqa: F401  fills the registry
from conditioning.clashes import solver_clash
from conditioning.registry import METHODS, Knob
from samplers import SAMPLERS
from samplers.afs import afs
from samplers.early_stop import stopping_at
from samplers.flow import Done, Driver, FlowFailed, Step, drive, on_step, run
from tests.support.exact_runs import (
    ORACLE,
    RUNNABLE,
    SHAPE,
    STEPS,
    Run,
    flow,
)  # fmt: skip
from tests.support.oracle import KINDS, finish

ROOT = Path(__file__).parents[1]
RUNS: list[Run] = [(name, methods) for name in SAMPLERS for methods in ((), ("cfg",))] + [
    (name, (m,)) for m in RUNNABLE if m != "cfg" for name in KINDS if not solver_clash(METHODS[m], name)
]
runs = pytest.mark.parametrize("name", RUNS, ids=lambda name: "+".join([name[0], *name[1]]))


# ---- every run -----------------------------------------------------------------------------------------------


@runs
def test_it_runs_and_stays_finite(name):
    got = run(flow(name, [1, 2]), ORACLE.denoise)
    assert got.shape == (2, *SHAPE) and got.isfinite().all()


@runs
def test_steps_say_where_they_are(name):
    """The last step is the result and lies at sigma 0; x and x0 have the shape of the images all along."""
    events = [event for _, event in drive([flow(name, [1, 2])], ORACLE.denoise)]
    *steps, done = events
    assert isinstance(done, Done) and steps and all(isinstance(step, Step) for step in steps)
    assert steps[-1].sigma == 0.0 and torch.equal(steps[-1].x, done.result)
    assert all(step.x.shape == step.x0.shape == (2, *SHAPE) and step.x0.isfinite().all() for step in steps)


@runs
def test_it_obeys_the_replies_to_its_steps(name):
    """Whatever state a step is answered with, the run goes on from it, and the last answer is the result."""
    answered = []

    def elsewhere(step):
        answered.append(torch.full_like(step.x, 100.0 + len(answered)))
        return answered[-1]

    asked = []

    def noting(one):
        asked.append(one.x)
        return ORACLE.denoise(one)

    assert torch.equal(run(on_step(flow(name, [1]), elsewhere), noting), answered[-1])
    for state in answered[:-1]:  # a method may ask for a part of the image, or by a higher label: that scales it
        near = [x for x in asked if x.mean() > state.mean() - 50 and (x / x.mean() - 1).abs().max() < 0.5]
        assert near, "an answer to a step was dropped"


@runs
def test_alone_is_as_in_company(name):
    """Equal bits, in one driver with other runs as by itself."""
    driver = Driver(ORACLE.denoise)
    driver.add("mine", flow(name, [1, 2]))
    driver.add("euler", flow(("euler", ()), [5, 6, 7]))
    driver.add("same", flow(name, [3]))
    driver.round()
    driver.add("late", flow(name, [1, 2]))
    ends = finish(driver)
    assert torch.equal(ends["mine"], run(flow(name, [1, 2]), ORACLE.denoise))
    assert torch.equal(ends["mine"], ends["late"])


@runs
def test_an_image_depends_on_its_seed_and_not_on_its_batch(name):
    batch = run(flow(name, [1, 2, 3]), ORACLE.denoise)
    for i, seed in enumerate([1, 2, 3]):
        assert torch.equal(batch[i : i + 1], run(flow(name, [seed]), ORACLE.denoise))
    assert not torch.equal(batch[0], batch[1])


@runs
def test_the_second_run_is_the_first(name):
    first, _, second = (run(flow(other, [1, 2]), ORACLE.denoise) for other in (name, ("heun", ()), name))
    assert torch.equal(first, second)


@runs
def test_small_calls_make_the_same_image(name):
    assert torch.equal(*(run(flow(name, [1, 2, 3]), ORACLE.denoise, max_rows=rows) for rows in (64, 1)))


@runs
@pytest.mark.parametrize("k", [1, 2, 3])
def test_cancelling_at_step_k_closes_everything(name, k):
    closed = []

    def noting():
        try:
            yield from flow(name, [1])
        finally:
            closed.append(True)

    driver, steps = Driver(ORACLE.denoise), 0
    driver.add(0, noting())
    while steps < k and len(driver):  # one that starts further down has fewer
        steps += sum(isinstance(event, Step) for _, event in driver.round())
    calls = driver.nfe
    driver.cancel(0)
    assert closed == [True] and not len(driver)
    assert driver.round() == [] and driver.nfe == calls


@runs
def test_a_failing_neighbour_changes_nothing(name):
    def failing():
        yield from flow(name, [9])
        raise RuntimeError("mine")

    ends = [e for _, e in drive([flow(name, [1]), failing()], ORACLE.denoise) if isinstance(e, (Done, FlowFailed))]
    good = next(e for e in ends if isinstance(e, Done))
    assert len(ends) == 2 and torch.equal(good.result, run(flow(name, [1]), ORACLE.denoise))


@runs
def test_it_leaves_no_gradients_behind(name):
    assert not run(flow(name, [1]), ORACLE.denoise).requires_grad and torch.is_grad_enabled()


# ---- every method --------------------------------------------------------------------------------------------

NEUTRAL = [
    (m, knob) for m in RUNNABLE for knob, k in METHODS[m].knobs.items() if isinstance(k, Knob) and k.neutral is not None
]


@pytest.mark.parametrize("sampler", KINDS)
@pytest.mark.parametrize("method, knob", NEUTRAL)
def test_a_neutral_knob_is_as_without_the_method(method, knob, sampler):
    if solver_clash(METHODS[method], sampler):
        pytest.skip("they clash")
    neutral = METHODS[method].knobs[knob].neutral
    with_it = run(flow((sampler, (method,)), [1, 2], {method: {knob: neutral}}), ORACLE.denoise)
    assert torch.equal(with_it, run(flow((sampler, ()), [1, 2]), ORACLE.denoise))


@pytest.mark.parametrize("method", RUNNABLE)
def test_a_method_does_something(method):
    with_it = run(flow(("euler", (method,)), [1, 2]), ORACLE.denoise)
    assert not torch.equal(with_it, run(flow(("euler", ()), [1, 2]), ORACLE.denoise))


@pytest.mark.parametrize("method", RUNNABLE)
def test_a_run_starts_from_the_noise_of_its_seed_or_its_method_says_that_it_encodes_an_image(method):
    """So it is known where a variation seed does nothing."""
    ends = [run(flow(("euler", (method,)), [1], start=name), ORACLE.denoise) for name in ("start", "another start")]
    assert torch.equal(*ends) is METHODS[method].has("encodes_start", {})


@pytest.mark.parametrize("method", [m for m in RUNNABLE if METHODS[m].nfe is not None])
def test_a_method_costs_what_it_says(method):
    driver = Driver(ORACLE.denoise)
    driver.add(0, flow(("euler", (method,)), [1, 2]))
    finish(driver)
    one = METHODS[method]
    assert driver.nfe == STEPS * one.nfe
    assert one.rows is None or driver.rows == 2 * STEPS * one.rows


@pytest.mark.parametrize("wrap", [afs, lambda sampler: stopping_at(sampler, 1.0)], ids=["afs", "stopped"])
@pytest.mark.parametrize("method", RUNNABLE)
def test_a_method_goes_with_a_free_first_step_and_an_early_end(method, wrap):
    sampler = next(name for name in KINDS if not solver_clash(METHODS[method], name))
    events = [event for _, event in drive([flow((sampler, (method,)), [1, 2], wrap=wrap)], ORACLE.denoise)]
    *steps, done = events
    assert isinstance(done, Done) and done.result.isfinite().all()
    assert steps[-1].sigma == 0.0 and torch.equal(steps[-1].x, done.result)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_says_what_a_page_needs(method):
    one = METHODS[method]
    assert one.title and one.summary and one.equation and one.task
    number = one.paper.split(".")
    assert len(number) == 2 and all(part.isdigit() for part in number), "paper is an arXiv number"
    for name, knob in one.knobs.items():
        knob.check(name, knob.default)


# ---- every file ----------------------------------------------------------------------------------------------

FILES = sorted([*ROOT.glob("samplers/**/*.py"), *ROOT.glob("conditioning/**/*.py")])


def yields(node: ast.AST) -> bool:
    """Whether a yield of this very function is in it: one of a function inside does not count."""
    if isinstance(node, (ast.Yield, ast.YieldFrom)):
        return True
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return any(yields(child) for child in ast.iter_child_nodes(node) if not isinstance(child, inner))


def withs_across_a_yield(source: str) -> list[int]:
    return [n.lineno for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.With, ast.AsyncWith)) and yields(n)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_with_block_spans_a_yield(file):
    """It would leak into the flows of other people, which run in between."""
    assert withs_across_a_yield(file.read_text()) == []


def test_the_check_for_with_blocks_sees_them():
    assert withs_across_a_yield("def f():\n  with a:\n    if b:\n      x = yield from c") == [2]
    assert withs_across_a_yield("def f():\n  with a:\n    def g():\n      yield 1\n  yield 2") == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_switches_gradients_by_itself(file):
    """Only the driver does, and only for the time of a network evaluation."""
    names = {n.attr for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Attribute)}
    allowed = {"set_grad_enabled"} if file.name == "driver.py" else set()
    assert not names & {"no_grad", "inference_mode", "autocast", "set_grad_enabled"} - allowed


def names_ask(source: str) -> bool:
    """Whether a file takes the innermost denoiser from samplers.flow, by import or as an attribute of it."""
    tree = ast.parse(source)
    taken = {
        alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("samplers")
        for alias in n.names
    }
    modules = {"flow", "samplers"}
    attributes = {(n.value.id, n.attr) for n in ast.walk(tree)
                  if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}  # fmt: skip
    return bool(taken & {"ask", "*"}) or any((module, "ask") in attributes for module in modules)


def test_the_network_is_an_argument_and_not_an_import():
    """Only `compose` knows the bare network: what asks it elsewhere misses adapters, ControlNets and learned labels."""
    files = [file for file in FILES if "conditioning" in file.relative_to(ROOT).parts[:1]]
    assert [file.name for file in files if names_ask(file.read_text())] == ["compose.py"]
    assert names_ask("from samplers.flow import ask") and names_ask("from samplers import flow\nflow.ask(x, 1.0, {})")
    assert not names_ask("from samplers.flow import Ask, Flow\ndef f(network): network.ask")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_arrows_point_downwards(file):
    tree = ast.parse(file.read_text())
    imported = {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    imported |= {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    above = {"app", "world", "backbones", "training", "bench", "tests"}
    if "samplers" in file.relative_to(ROOT).parts[:1]:
        above.add("conditioning")
    assert not imported & above


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_stay_short(file):
    assert len(file.read_text().splitlines()) <= 400
