"""LoRA files of a run, named in its prompt and on its card: what acts, what is refused, what its image says of it."""

import hashlib
import json
import struct

import pytest
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from app.engine import loras as of_runs
from app.engine.attention_recorder import AttentionRecorder
from app.engine.engine import Engine
from app.engine.planner import problems
from app.engine.prompt_syntax import syntax
from app.engine.unused_settings import formula, used
from app.schema.png_metadata import read
from app.schema.recipe import Recipe
from app.service.checking import check, known_backbone
from app.service.reading import Request
from backbones import lora_files
from backbones.outline import outline
from tests.support import loras, tiny
from tests.support.loras import ATTENTION, TEXT, drawn, kohya, modules, write

CARD = {"name": "lora", "inputs": {"files": "<lora:ink:0.8>"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny checkpoint and a folder of LoRA files: "ink" changes both networks, "words" the text encoder alone."""
    home = tmp_path_factory.mktemp("home")
    folder = tiny.save(home / "net", "eps")
    pipe = DiffusionPipeline.from_pretrained(folder, safety_checker=None)
    loras.redrawn(pipe.unet).save_pretrained(folder / "unet")
    loras.redrawn(pipe.text_encoder).save_pretrained(folder / "text_encoder")
    unet = kohya(drawn(modules(pipe.unet, ATTENTION), seed=1)[0])
    text = kohya(drawn(modules(pipe.text_encoder, TEXT), seed=2)[0], "lora_te_text_model_")
    write(home / "loras", "ink", {**unet, **text})
    write(home / "loras", "net", unet)
    write(home / "loras", "words", text)
    wide = tiny.unet(768)
    write(home / "loras", "sd1", kohya(drawn(modules(wide, r"attn2\.to_k$"))[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_LORAS", str(home / "loras"))
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        yield home


@pytest.fixture(scope="module")
def engine(home):
    made = Engine(str(home / "net"), name="net", batch_across_runs=True)
    assert made.wait(60)
    yield made
    made.close()


def recipe(**fields):
    return Recipe.make(**{"prompt": "a red sphere", "backbone": "net", "width": 32, "height": 32, "steps": 3, **fields})


def pixels(engine, *recipes):
    """Of runs that are under way together."""
    runs = [engine.submit(one) for one in recipes]
    return [one.result().images[0].tobytes() for one in runs]


def test_a_file_in_the_prompt_is_the_file_on_the_card(engine):
    (plain,), (by_card,) = pixels(engine, recipe()), pixels(engine, recipe(methods=[CARD]))
    (by_prompt,) = pixels(engine, recipe(prompt="a red sphere <lora:ink:0.8>"))
    (halves,) = pixels(engine, recipe(prompt="a red sphere <lora:ink:0.4>", methods=[
        {"name": "lora", "inputs": {"files": "<lora:ink:0.8>"}, "knobs": {"weight": 0.5}}]))  # fmt: skip
    assert by_prompt == by_card != plain and near(halves, by_card)
    assert pixels(engine, recipe()) == [plain], "off means off"


def near(a, b):
    """The same but for sums in another order."""
    return max(abs(x - y) for x, y in zip(a, b)) <= 1


def test_runs_under_way_together_are_each_what_they_are_alone(engine):
    every = [recipe(), recipe(methods=[CARD]), recipe(prompt="a red sphere <lora:net:-1>"),
             recipe(prompt="a red sphere <lora:words:1>"), recipe(prompt="a red sphere <lora:net:0:1, 0.5:0>"),
             ]  # fmt: skip
    alone = [pixels(engine, one)[0] for one in every]
    engine.forget()
    assert all(near(a, b) for a, b in zip(pixels(engine, *every), alone)) and len({*alone}) == len(every)


def test_of_joined_prompts_a_file_acts_on_all_wherever_it_stands(engine):
    prompts = ("<lora:ink:0.8> a red sphere AND a blue cube", "a red sphere <lora:ink:0.8> AND a blue cube",
               "a red sphere AND a blue cube <lora:ink:0.8>", "a red sphere AND a blue cube")  # fmt: skip
    first, second, third, without = (pixels(engine, recipe(prompt=prompt))[0] for prompt in prompts)
    assert first == second == third != without


def test_the_negative_prompt_is_read_with_the_file_too(engine, home):
    """As in A1111 and diffusers: the layers of the text encoder are at work for all texts of the run."""
    b = engine.backbone
    _, reading = of_runs.opened(recipe(prompt="a <lora:words:1>"), b)
    assert not reading.encode_prompt(["blue"])["text"].equal(b.encode_prompt(["blue"])["text"])
    assert of_runs.opened(recipe(prompt="a <lora:net:1>"), b)[1] is b, "without such layers it is the backbone itself"
    assert of_runs.opened(recipe(prompt="a <lora:words:te=0:unet=1>"), b)[1] is b
    assert of_runs.opened(recipe(methods=[CARD | {"knobs": {"weight": 0}}]), b)[1] is b


def test_the_image_says_which_files_made_it(engine, home):
    made = engine.submit(recipe(prompt="a red sphere <lora:net:1>", methods=[CARD])).result()
    digest = {name: lora_files.opened(lora_files.find(name)).digest for name in ("net", "ink")}
    hashes = {name: hashlib.sha256(after_the_header(name)).hexdigest() for name in ("net", "ink")}
    assert made.recipes[0].loras == digest and made.recipes[0].lora_hashes == hashes
    listed = f'Lora hashes: "net: {hashes["net"][:12]}, ink: {hashes["ink"][:12]}"'
    assert listed in made.images[0].info["parameters"], "as A1111 has it"
    assert made.formula == "euler over cfg(lora(ask))"
    assert read(made.images[0].info["parameters"]).recipe == made.recipes[0]
    without = json.loads(recipe().to_json())
    assert not {"loras", "lora_hashes"} & {*without}, "recipes without files are the same text as before"
    plain = engine.submit(recipe()).result()
    assert plain.recipes[0].loras == {} and plain.formula == "euler over cfg(ask)"


def after_the_header(name):
    """The tensors of a file, by the format's own words: 8 bytes say how long the header is that follows."""
    content = lora_files.find(name).read_bytes()
    return content[8 + struct.unpack("<Q", content[:8])[0] :]


def test_an_image_of_a1111_is_held_against_the_files_here(home):
    """By the hash of the tensors, that which stands in the header, or that of the whole file."""
    text = "a <lora:{0}:1>\nSteps: 20, Sampler: Euler, Seed: 1, Lora hashes: \"{0}: {1}\", Version: v1.10.1"
    tensors, net = hashlib.sha256(after_the_header("net")).hexdigest(), lora_files.opened(lora_files.find("net"))
    write(home / "loras", "trained", load_file(net.path), {"sshs_model_hash": "5" * 64})
    for name, hash in [("net", tensors[:12]), ("net", tensors[:8].upper()), ("net", net.digest[:10]),
                       ("trained", "5" * 12)]:  # fmt: skip
        made = read(text.format(name, hash))
        assert of_runs.differences(made.recipe) == [] and not any("Lora hashes" in note for note in made.notes)
    (said,) = of_runs.differences(read(text.format("net", "0123456789ab")).recipe)
    assert "“net” is another one here" in said and tensors[:12] in said and "0123456789ab" in said
    (said,) = of_runs.differences(read(text.format("gone", "0123456789ab")).recipe)
    assert "“gone” (A1111's hash 0123456789ab) is not here" in said
    other = write(home / "loras", "net again", load_file(net.path), {"ss_comment": "another header"})
    assert lora_files.opened(other).digest != net.digest and lora_files.opened(other).tensors_digest == tensors


def test_attention_maps_are_those_of_the_network_with_the_file(engine, home):
    """What asks beside the run asks the network with all that belongs to it."""
    seen, denoise = [], engine.backbone.denoise
    engine.backbone.denoise = lambda ask: (seen.append((ask.edit is not None, sorted(ask.cond))), denoise(ask))[1]
    try:
        one = recipe(prompt="a red sphere <lora:net:1>", steps=1)
        engine.submit(one, watch=AttentionRecorder()).result()
    finally:
        del engine.backbone.denoise
    key = lora_files.opened(lora_files.find("net")).key
    assert [edit for edit, _ in seen] == [False, True] and all(key in keys for _, keys in seen)


def test_what_differs_is_said_in_words(engine, home):
    made = engine.submit(recipe(prompt="a red sphere <lora:net:1>")).result().recipes[0]
    assert of_runs.differences(made) == []
    made_by = {"loras": {"net": "0" * 64, "gone": "1" * 64}, "lora_hashes": {}}
    other = made.model_copy(update={**made_by, "prompt": "a <lora:never:1>"})
    said = of_runs.differences(other)
    assert len(said) == 3 and "“net” is another one here" in said[0] and "000000000000" in said[0]
    assert "“gone” (sha256 111111111111) is not here: put it into the folder loras" in said[1]
    assert "“never” is not here" in said[2]


@pytest.mark.parametrize("text, words", [
    ("<lora:inc:1>", "holds no LoRA file “inc”: did you mean ink?"), ("<lora:ink:x>", "could not convert"),
    ("<lora:sd1:1>", "seems to be made for Stable Diffusion 1. Choose a model of that family, or another file."),
    ("<lora:ink:99>", "a weight is -10 to 10"),
])  # fmt: skip
def test_what_cannot_act_is_refused_at_its_field_before_anything_is_loaded(home, text, words):
    known = outline(str(home / "net"), "net")
    (in_prompt,) = problems(recipe(prompt=f"a sphere {text}"), known, "net")
    assert in_prompt.field == "prompt" and words in in_prompt.message and not in_prompt.message.endswith("?.")
    (on_card,) = problems(recipe(methods=[CARD | {"inputs": {"files": text}}]), known, "net")
    assert on_card.field == "methods.0.inputs.files" and words in on_card.message


@pytest.mark.parametrize("files, words", [("", "Write <lora:name:weight>"), ("ink", "“ink” names no file: write <")])
def test_a_card_wants_files_in_their_notation(home, files, words):
    (said,) = problems(recipe(methods=[CARD | {"inputs": {"files": files}}]), outline(str(home / "net"), "net"), "net")
    assert said.field == "methods.0.inputs.files" and words in said.message


def test_how_many_layers_act_is_said_at_the_field_that_names_the_file(home):
    known = outline(str(home / "net"), "net")
    more = {**kohya({"nowhere.to_q": drawn({"x": modules(tiny.unet(32), r"to_q$").popitem()[1]})[0]["x"]})}
    write(home / "loras", "partly", {**load_file(lora_files.find("net")), **more})
    prompt, card = syntax(recipe(prompt="a sphere <lora:net:1>", methods=[
        {"name": "lora", "inputs": {"files": "<lora:partly:1> <lora:words:0>"}}]), known)  # fmt: skip
    assert prompt.field == "prompt" and prompt.message == "Prompt: all 32 layers of “net” act."
    assert card.field == "methods.0.inputs.files"
    assert "Files: 32 of the 33 layers of “partly” act, not 1 in the network (nowhere_to_q)." in card.message
    assert "At a weight of 0 it does nothing." in card.message


def test_where_files_are_not_read_the_tag_is_said_to_do_nothing(home):
    one = Recipe.make(prompt="a cube <lora:ink:1>", backbone="exact", width=64, height=64)
    exact = known_backbone("exact")
    assert problems(one, exact, "exact") == [] and not any(of_runs.named(one, exact).values())
    assert ["loads none" in said.message for said in syntax(one, exact)] == [True]
    assert formula(one, exact) == "euler over cfg(ask)"
    (said,) = syntax(recipe(negative="blue <lora:ink:1>"), outline(str(home / "net"), "net"))
    assert said.field == "negative" and "is read in the prompt alone" in said.message


def test_a_silent_card_leaves_the_files_of_the_prompt_alone(home):
    known = outline(str(home / "net"), "net")
    one = recipe(prompt="a sphere <lora:net:1>", methods=[CARD | {"knobs": {"weight": 0}}])
    assert used(one, known).methods == () and formula(one, known) == "euler over cfg(lora(ask))"


def test_a_run_is_counted_without_its_files(home):
    known = outline(str(home / "net"), "net")
    found = check(Request(recipe(methods=[CARD], prompt="a <lora:net:1>")), known_of=lambda _: known,
                  outline_of=lambda _: known)  # fmt: skip
    assert (found.problems, found.nfe, found.rows, found.nfe_reason) == ((), 3, 6, "")
