"""Methods and kinds of models: what docs/models.md says is what the networks declare, and what runs."""

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

import backbones
from app.catalog import catalogue, models
from app.engine.planner import Encoder, plan, problems
from app.schema.recipe import Recipe
from backbones.embedded import EMBEDDED
from backbones.outline import outline
from backbones.pipelines import BY_PIPELINE
from conditioning.registry import METHODS
from samplers.driver import Driver
from tests.support import tiny, tiny_transformers
from tests.support.full_methods import IMAGES, full
from tests.support.loras import ATTENTION, drawn, kohya, modules, write
from tests.support.networks import embedded
from tests.support.oracle import finish
from tests.support.tiny_controlnets import controlnet, of_transformer
from tests.support.tiny_ip_adapters import image_encoder, ip_adapter
from tests.support.tiny_pixels import save_pixels
from tests.support.tiny_t2i_adapters import t2i_adapter

ROOT = Path(__file__).parents[3]
KINDS = {one.key: one for one in models.kinds()}
OF_UNETS = {"sd": "eps", "sdxl": "xl", "inpainting": "eps-inpaint", "instruct-pix2pix": "eps-pix2pix", "lcm": "eps-lcm"}
OF_TRANSFORMERS = {
    "qwen-image": "qwen-image", "z-image": "z-image", "flux2-klein": "flux2-klein", "flux-dev": "flux-dev",
    "flux-schnell": "flux-schnell", "flux-kontext": "flux-kontext", "flux-fill": "flux-fill", "krea2": "krea2",
    "sd3": "sd3", "sana": "sana", "pixart": "pixart-sigma",
}  # fmt: skip
STEPS, PROMPT = 4, "a red disc on grass"
INPUTS = {  # words of the prompt, and such as Still Life knows
    "words": "red", "weights": "red:2", "only": "red", "asked": "red", "without": "blue sphere",
    "source_prompt": "a red cube",
}  # fmt: skip
CHANGES = {  # so that it acts in 4 steps of so small a network, and needs no perception model
    "energy_guidance": {"energy": "colours", "start": 0.0, "end": 1.0},
    "masactrl": {"layer": 0.0, "start": 0.0},
    "attend_and_excite": {"strength": 300.0, "start": 0.0, "end": 1.0},
    "layout_guidance": {"threshold": 0.0, "end": 1.0},
    "semantic_guidance": {"warmup": 0},
    "distilled_guidance": {"scale": 8.0},  # not the network's own
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """kind -> a tiny checkpoint of it, with a LoRA, and ControlNets and adapters beside it where some fit."""
    made = {}

    def folder(key):
        if key in made:
            return made[key]
        home = tmp_path_factory.mktemp(key)
        if key in OF_TRANSFORMERS:
            kind = OF_TRANSFORMERS[key]
            deeper = {"z-image": {"n_layers": 3}, "sana": {"num_layers": 2}}.get(kind, {})  # as their ControlNets want
            made[key] = tiny_transformers.save(home / "net", kind, **deeper)
            layers = modules(DiffusionPipeline.from_pretrained(made[key]).transformer, r"to_q$")
            write(home / "loras", "ink", kohya(drawn(layers)[0], "lora_transformer_"))
            if KINDS[key].beside:
                for seed, name in enumerate(("depth", "edges")):
                    made_for = "flux-dev" if kind == "flux-schnell" else kind
                    of_transformer(made_for, seed).save_pretrained(home / "net_controlnets" / name)
        elif key in OF_UNETS:
            made[key] = tiny.save(home / "net", OF_UNETS[key])
            unet = DiffusionPipeline.from_pretrained(made[key], safety_checker=None).unet
            plain = tiny.save(home / "plain", OF_UNETS[key].partition("-")[0])  # of which ControlNets are trained
            plain = DiffusionPipeline.from_pretrained(plain, safety_checker=None).unet
            for seed, name in enumerate(("depth", "edges")):
                controlnet(plain, seed).save_pretrained(home / "net_controlnets" / name)
                t2i_adapter(seed=seed).save_pretrained(home / "net_t2i_adapters" / name)
            ip_adapter(home / "net_ip_adapters" / "depth.safetensors", unet)  # as other adapters are called in tests
            image_encoder(home / "net_ip_adapters" / "image_encoder")
            write(home / "loras", "ink", kohya(drawn(modules(unet, ATTENTION))[0]))
        else:
            made[key] = Path(save_pixels(home / "net"))
        return made[key]

    return folder


@pytest.fixture
def opened(folders, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_ENGINE", "torch")
    monkeypatch.setenv("NINE_WAYS_DEVICE", "cpu")

    def opened(key):
        if key in EMBEDDED:
            return embedded(key)
        monkeypatch.setenv("NINE_WAYS_LORAS", str(folders(key).parent / "loras"))
        return backbones.load(str(folders(key)))

    return opened


def test_the_document_and_the_page_say_what_networks_and_methods_declare():
    """`python -m app.catalog.models > docs/models.md` and `python -m app.catalog.generate` write them."""
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == models.markdown()
    assert catalogue()["models"] == models.table()


def test_every_pipeline_that_is_opened_is_of_a_kind():
    told = {name for one in KINDS.values() for networks in one.networks for name in networks.pipelines}
    assert told == set(BY_PIPELINE)


@pytest.mark.parametrize("key", [key for key in KINDS if key not in EMBEDDED])
def test_what_a_kind_offers_is_what_a_checkpoint_of_it_offers(key, folders, opened):
    offers = KINDS[key].offers | KINDS[key].beside
    assert outline(str(folders(key))).offers == offers == opened(key).offers


def flow_of(recipe, backbone):
    return plan(recipe, backbone, Encoder(backbone), IMAGES).flow


@pytest.mark.parametrize("key", KINDS)
def test_every_method_runs_on_every_kind_or_is_refused_or_has_no_words_to_act_by(key, opened):
    """In 4 steps, all of one kind beside each other, with all that each can be given."""
    b, driver, kind = opened(key), Driver(lambda ask: b.denoise(ask)), KINDS[key]
    sides = [b.default_size // 2] if key in EMBEDDED else [32, 64]
    side, latents = next((one, n) for one in sides if (n := b.latent_shape(one, one)[2]) >= 16)
    base = Recipe(backbone=b.id, prompt=PROMPT, negative="blue", width=side, height=side, steps=STEPS, seed=3)
    driver.add("", flow_of(base, b))
    for name, method in METHODS.items():
        if name == "cfg":
            continue
        changes = {"window": latents // 2, "stride": latents // 4} if name == "panorama" else CHANGES.get(name, {})
        use = full(name, **changes)
        others = INPUTS | ({"files": "<lora:night:0.5>"} if key in EMBEDDED else {})
        use["inputs"] = {at: others.get(at, given) for at, given in use["inputs"].items()}
        recipe = base.but(methods=(use,))
        if kind.runs(method) == models.NOT:
            assert any(f"{method.title} needs" in one.message for one in problems(recipe, b, key)), name
        else:
            driver.add(name, flow_of(recipe, b))
    driver.add("cfg", flow_of(base.but(cfg_scale=1.0), b))
    images = finish(driver)
    plain = images.pop("")
    assert not {name: one for name, one in images.items() if isinstance(one, Exception) or not one.isfinite().all()}
    silent = {name for name, image in images.items() if torch.allclose(image, plain, atol=1e-4)}
    assert silent == {name for name in images if kind.runs(METHODS[name]) == models.NOTHING}
