"""LoRA as a method: its keys of an ask, curves, files of the prompt, whole runs against the merged network."""

import pytest
import torch
from diffusers import DiffusionPipeline

import conditioning  # noqa: F401  fills the registry
from backbones import stable_diffusion
from conditioning.compose import compose, refusals
from conditioning.curves import parse
from conditioning.inputs import Lora, prepare_input
from conditioning.registry import METHODS
from samplers import SAMPLERS
from samplers.flow import Driver, Noise, run
from samplers.schedules import native
from tests.support import loras, tiny
from tests.support.loras import EVERY_KIND, drawn, kohya, modules, write
from tests.support.oracle import finish

PROMPT, NEGATIVE, SCALE, STEPS = "a red sphere on grass", "blue", 4.0, 4
lora = METHODS["lora"].function


def keys(files, sigma=2.0, sigmas=(4.0, 2.0, 1.0, 0.0), **kw):
    return {key: value.item() for key, value in lora(None, files, sigmas=sigmas, **kw)(sigma, {}).items()}


def test_its_keys_are_the_weights_of_the_files():
    assert keys([Lora("lora.a", 0.5), Lora("lora.b", -1.0)], weight=2.0) == {"lora.a": 1.0, "lora.b": -2.0}
    assert keys([Lora("lora.a", 0.5), Lora("lora.a", 0.25)]) == {"lora.a": 0.75}, "twice is the sum"
    assert keys([Lora("lora.a", 0.5)], weight=0.0) == {} == keys([Lora("lora.a", 0.5), Lora("lora.a", -0.5)])
    beside = keys([Lora("lora.a", 1.0)], weight=0.5, prompt_files=[Lora("lora.b", 0.8)])
    assert beside == {"lora.a": 0.5, "lora.b": pytest.approx(0.8)}, "the weight of the card is not that of the prompt"


def test_a_curve_goes_over_the_steps_and_at_0_the_network_is_asked_as_ever():
    curve = [Lora("lora.a", parse("0:1, 0.5:0, 1:0"))]
    assert keys(curve, 4.0) == {"lora.a": 1.0} and keys(curve, 3.0)["lora.a"] == pytest.approx(2 / 3)
    assert keys(curve, 2.5)["lora.a"] == pytest.approx(0.5) and keys(curve, 1.0) == {} == keys(curve, 0.1)


@pytest.fixture(scope="module")
def b(tmp_path_factory):
    """A tiny network in torch with two files: "one" and "two", and what they add to its weights."""
    home = tmp_path_factory.mktemp("eps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        patch.setenv("NINE_WAYS_LORAS", str(home / "loras"))
        made = stable_diffusion.load(str(tiny.save(home / "net", "eps")))
        made.deltas = {}
        for name, seed in (("one", 1), ("two", 2)):
            tensors, made.deltas[name] = drawn(modules(made.network.unet, EVERY_KIND), seed=seed)
            write(home / "loras", name, kohya(tensors))
        yield made


def flow(b, stack, seed=1, scale=SCALE, sampler="euler"):
    sigmas = native(STEPS, b.sigmas)
    null, cond = b.encode_prompt([NEGATIVE]), b.encode_prompt([PROMPT])
    stack = [*stack, *([("cfg", {"scale": scale})] if scale != 1 else [])]
    D, solver, _ = compose(stack, SAMPLERS[sampler], sigmas=sigmas, null=null, backbone=b)
    x = sigmas[0] * Noise([seed]).child("start")(torch.empty(1, *b.latent_shape(32, 32)))
    return solver(D, x, sigmas, cond, Noise([seed]))


def use(b, text, **knobs):
    return [("lora", {"files": prepare_input("loras", text, b, 1, ()), **knobs})]


def test_a_run_is_the_pipeline_s_with_both_files_in_it(b):
    """diffusers' own pipeline with W + s D in its weights, guided, through the same steps."""
    pipe = DiffusionPipeline.from_pretrained(b.folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    for name, delta in b.deltas.items():
        pipe.unet = loras.merged(pipe.unet, delta, {"one": 0.6, "two": -0.3}[name])
    noise = torch.randn(1, *b.latent_shape(32, 32), generator=torch.Generator().manual_seed(1))
    theirs = pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, guidance_scale=SCALE, num_inference_steps=STEPS,
                  output_type="latent").images  # fmt: skip
    sigmas = [*b.sigmas[pipe.scheduler.timesteps].tolist(), b.sigmas[0].item()]
    stack = [*use(b, "<lora:one:0.6> <lora:two:-0.3>"), ("cfg", {"scale": SCALE})]
    D, solver, text = compose(stack, SAMPLERS["euler"], sigmas=sigmas, null=b.encode_prompt([NEGATIVE]), backbone=b)
    x = run(solver(D, noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas, b.encode_prompt([PROMPT]), Noise([0])), b.denoise)
    x = x / (1 + sigmas[-1] ** 2) ** 0.5
    assert (x - theirs).abs().max() <= 1e-4 * theirs.abs().max() and text == "euler over cfg(lora(ask))"


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_runs_with_other_files_in_one_engine_equal_each_alone(b, sampler):
    """Merged evaluations included: unlike weights of one file, another file, a curve, none at all."""
    stacks = [use(b, "<lora:one:0.5>"), use(b, "<lora:one:-1>"), use(b, "<lora:two:1>"), [],
              use(b, "<lora:one:0:1, 0.5:0> <lora:two:0.2>"), use(b, "<lora:one:1>", weight=0.0)]  # fmt: skip
    state = {name: value.clone() for name, value in b.network.unet.state_dict().items()}
    alone = [run(flow(b, stack, seed, sampler=sampler), b.denoise) for seed, stack in enumerate(stacks)]
    driver = Driver(b.denoise)
    for seed, stack in enumerate(stacks):
        driver.add(seed, flow(b, stack, seed, sampler=sampler))
    together = finish(driver)
    for seed, x in enumerate(alone):
        assert (together[seed] - x).abs().max() <= 1e-4 * x.abs().max()
    assert all(value.equal(state[name]) for name, value in b.network.unet.state_dict().items())
    plain = run(flow(b, [], 5, sampler=sampler), b.denoise)
    assert alone[5].equal(plain), "at a weight of 0 bit for bit"
    assert driver.nfe < sum(1 for _ in stacks) * STEPS * (1 + (sampler == "heun"))


def test_a_curve_of_the_knob_acts_while_it_is_on(b):
    first, second = use(b, "<lora:one:1>", weight="0:1, 0.5:1, 0.5:0"), use(b, "<lora:one:0:1, 0.5:1, 0.5:0>")
    seen = []

    def answer(ask):
        seen.append(any(key.startswith("lora.") for key in ask.cond))
        return b.denoise(ask)

    assert run(flow(b, first), answer).equal(run(flow(b, second), b.denoise))
    assert seen == [True, True, False, False], "no branch is asked for where the weight is 0"


def test_it_needs_layers_that_files_can_change():
    class Other:
        id, offers = "exact", frozenset()

    (said,) = refusals([("lora", {})], Other())
    assert said == ("LoRA needs layers that LoRA files change (Still Life, Stable Diffusion, and diffusion "
                    "transformers), and exact has none")  # fmt: skip


def test_networks_with_files_are_kept_a_few_at_a_time(b):
    b.network.adapters.add("x", lambda network, keys: network)
    for i in range(10):
        b.network.adapters._made[(f"x{i}",)] = (b.engine, b.network.torch)
        b.network.adapters.engines((f"x{i}",))
    assert len(b.network.adapters._made) == 6 and ("x9",) in b.network.adapters._made
    b.network.adapters._made.clear()
