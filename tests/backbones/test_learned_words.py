"""Words of textual inversion by the names of their files, beside diffusers' own `load_textual_inversion`; other prompts
come out as before, bit for bit."""

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

from app.engine.planner import Encoder, problems
from app.engine.prompt_syntax import syntax
from app.engine.text_reading import learned_in, other_words
from app.schema.png_metadata import read, write
from app.schema.recipe import Recipe
from backbones import stable_diffusion
from backbones.checkpoint_files import SINGLE_FILE
from backbones.learned_words import LearnedWords
from backbones.outline import outline
from tests.support import tiny

WIDTHS = {"eps": {"emb_params": 32}, "xl": {"clip_l": 32, "clip_g": 48}}


def vectors(kind, count, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {key: 0.1 * torch.randn(count, width, generator=draw) for key, width in WIDTHS[kind].items()}


@pytest.fixture(scope="module", params=["eps", "xl"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("words") / "net", kind, places=77)


@pytest.fixture(scope="module")
def b(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backbones.clip_text.LEARNED_ALL", 100)  # as of CLIP's vocabulary
        patch.setattr("backbones.outline.LEARNED_ALL", 100)
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        yield stable_diffusion.load(str(folder), name="mine")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_EMBEDDINGS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def of_diffusers(folder, kind, word, tensors):
    """Features of "a cube in <word> on grass" by diffusers' pipeline, which is given the vectors."""
    pipe = DiffusionPipeline.from_pretrained(folder, safety_checker=None)
    parts = [("", "emb_params")] if kind == "eps" else [("", "clip_l"), ("_2", "clip_g")]
    for suffix, key in parts:
        pipe.load_textual_inversion(
            {word: tensors[key]}, tokenizer=getattr(pipe, f"tokenizer{suffix}"),
            text_encoder=getattr(pipe, f"text_encoder{suffix}"),
        )  # fmt: skip
    with torch.no_grad():
        return pipe.encode_prompt(f"a cube in {word} on grass", device="cpu", num_images_per_prompt=1,
                                  do_classifier_free_guidance=False)  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
def test_a_word_is_read_as_diffusers_reads_it(b, folder, kind, home, count):
    tensors = vectors(kind, count)
    save_file(tensors, home / "mystyle.safetensors")
    theirs = of_diffusers(folder, kind, "mystyle", tensors)
    for text in ("a cube in mystyle on grass", "a cube in MyStyle on grass", "a cube in (mystyle:1) on grass"):
        ours = b.encode_prompt([text])
        torch.testing.assert_close(ours["text"], theirs[0], atol=1e-6, rtol=1e-5)
        if kind == "xl":
            torch.testing.assert_close(ours["pooled"], theirs[2], atol=1e-6, rtol=1e-5)
    said = [(word, len(places)) for word, places in b.words(ours["tokens"][0])]
    assert said == [("a", 1), ("cube", 1), ("in", 2), ("mystyle", count), ("on", 1), ("grass", 1)]
    assert b.count_tokens(text) == outline(str(folder)).count_tokens(text) == (6 + count, 75)


def test_one_tensor_under_the_word_is_read_too(b, kind, home):
    tensors = vectors("eps", 2)
    save_file({"<cat-toy>": tensors["emb_params"]}, home / "toy.safetensors")
    found, wrong = b.learned_words.in_text("a toy"), b.learned_words.wrong("a toy")
    if kind == "eps":
        save_file(tensors, home / "other.safetensors")
        assert torch.equal(b.encode_prompt(["a toy"])["text"], b.encode_prompt(["a other"])["text"])
        assert [word.vectors for word in found] == [2] and not wrong
    else:
        assert not found and "its vectors have 32 numbers, and mine reads 32 and 48" in wrong[0]


def test_all_other_prompts_come_out_as_before(b, home):
    """The table of embeddings is left alone, whatever words were read."""
    before = b.text.encode("a red cube")
    table = b.text.readers[0].encoder.get_input_embeddings().weight.clone()
    save_file(vectors("eps" if len(b.text.readers) == 1 else "xl", 2), home / "mystyle.safetensors")
    with_word = b.text.encode("a red mystyle")
    after = b.text.encode("a red cube")
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(b.text.readers[0].encoder.get_input_embeddings().weight, table)
    assert not torch.equal(with_word["text"], before["text"])


@pytest.mark.parametrize("text", ["mystyles", "mystyle2", "nomystyle", "my style", "_mystyle"])
def test_only_the_word_itself_is_read(b, kind, home, text):
    save_file(vectors(kind, 2), home / "mystyle.safetensors")
    assert not b.learned_words.in_text(f"a {text} cube") and b.learned_words.in_text("a (mystyle:1.2), cube")


def test_of_two_names_the_longer_one_is_read(b, kind, home):
    save_file(vectors(kind, 1), home / "bad.safetensors")
    for name in ("bad-hands-5", "bad@hands"):  # before and behind "bad" by the alphabet
        save_file(vectors(kind, 2), home / f"{name}.safetensors")
        assert [word.name for word in b.learned_words.in_text(f"{name}, grass")] == [name]
        assert [word.name for word in b.learned_words.in_text(f"{name}, bad")] == [name, "bad"]


def test_a_word_is_not_cut_by_the_end_of_a_chunk_and_has_a_weight(b, kind, home):
    save_file(vectors(kind, 4), home / "mystyle.safetensors")
    red = " ".join(["red"] * 73)
    cut = b.encode_prompt([f"{red} mystyle"])
    apart = b.encode_prompt([f"{red} BREAK mystyle"])
    assert torch.equal(cut["text"], apart["text"]) and b.count_tokens(f"{red} mystyle") == (79, 150)
    weighed = b.encode_prompt([f"{red} (mystyle:1.5)"])["text"]
    assert torch.equal(weighed[:, :77], cut["text"][:, :77]) and not torch.equal(weighed, cut["text"])
    assert b.words(cut["tokens"][0])[-1] == ("mystyle", [78, 79, 80, 81])


def test_files_are_found_beside_the_checkpoint_and_looked_up_anew(b, kind, folder, home):
    beside = folder.parent / "embeddings"
    beside.mkdir()
    try:
        encode = Encoder(b)
        plain = encode("a newword")["text"]
        save_file(vectors(kind, 1), beside / "newword.safetensors")
        first = encode("a newword")["text"]
        save_file(vectors(kind, 1, seed=1), beside / "newword.safetensors")
        second = encode("a newword")["text"]
        assert not torch.equal(plain, first) and not torch.equal(first, second)
    finally:
        (beside / "newword.safetensors").unlink()
        beside.rmdir()
    assert torch.equal(encode("a newword")["text"], plain)


def test_beside_a_single_file_they_are_those_beside_the_file(tmp_path, home):
    """The folder that stands for it lies in the cache."""
    file, stands_for_it = tmp_path / "models" / "dream.safetensors", tmp_path / "cache" / "abc"
    for folder in (file.parent / "embeddings", stands_for_it):
        folder.mkdir(parents=True)
    file.touch()
    (stands_for_it / SINGLE_FILE).symlink_to(file)
    save_file(vectors("eps", 1), file.parent / "embeddings" / "mystyle.safetensors")
    words = LearnedWords("dream", stands_for_it, (32,), 75)
    assert [word.name for word in words.in_text("a mystyle cube")] == ["mystyle"]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"emb_params": torch.zeros(2, 768)}, "made for Stable Diffusion 1: its vectors have 768 numbers, and mine"),
        ({"*": torch.zeros(1024)}, "made for Stable Diffusion 2: its vectors have 1,024 numbers"),
        ({"clip_g": torch.zeros(1, 1280)}, "made for the second text encoder of SDXL: its vectors have 1,280"),
        ({"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)}, "for SDXL: its vectors have 768 and 1,280"),
        ({"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(2, 48)}, "tensors of 1 x 32, 2 x 48 numbers"),
        ({"a": torch.zeros(1, 32), "b": torch.zeros(1, 32)}, "holds a, b: what is read is one tensor"),
        ({"emb_params": torch.zeros(1, 2, 32)}, "these are no vectors of one word"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_at_its_field(b, home, tensors, words):
    save_file(tensors, home / "mystyle.safetensors")
    known = outline(str(b.folder), "mine")
    for backbone in (b, known):
        (one,) = problems(Recipe(prompt="a mystyle", backbone="mine", width=32, height=32), backbone, "mine")
        assert one.field == "prompt" and words in one.message and "“mystyle”" in one.message
        assert not problems(Recipe(prompt="a cube", backbone="mine", width=32, height=32), backbone, "mine")


def test_pickles_damaged_files_and_too_many_vectors_are_refused(b, kind, home):
    (home / "old.pt").write_bytes(b"a pickle")
    (home / "broken.safetensors").write_bytes(b"nothing")
    save_file(vectors(kind, 76), home / "many.safetensors")
    wrong = [b.learned_words.wrong(f"a {name}")[0] for name in ("old", "broken", "many")]
    assert "old.pt is a pickle" in wrong[0] and "old.safetensors" in wrong[0]
    assert "damaged" in wrong[1] and "of 76 vectors, and a chunk of the prompt has 75 places" in wrong[2]
    save_file(vectors(kind, 1), home / "old.safetensors")
    assert not b.learned_words.wrong("an old"), "beside a file that can be read the pickle is no matter"


def test_what_is_read_is_said_under_the_field(b, kind, home):
    save_file(vectors(kind, 2), home / "mystyle.safetensors")
    asked = Recipe(prompt="a cube", negative="mystyle", backbone="mine")
    (said,) = syntax(asked, b)
    assert said == ("negative", "Negative prompt: “mystyle” is read as 2 learned vectors.")
    assert syntax(Recipe(prompt="a cube", backbone="mine"), b) == []


def test_an_image_tells_of_the_files_and_what_differs_is_said(b, kind, home):
    save_file(vectors(kind, 1), home / "MyStyle.safetensors")
    asked = Recipe(prompt="a mystyle", negative="grass", backbone="mine")
    made = asked.model_copy(update={"embeddings": learned_in(asked, b)})
    (digest,) = made.embeddings.values()
    assert f'TI hashes: "MyStyle: {digest[:12]}"' in write(made) and read(write(made)).recipe == made
    assert other_words(made, b) == [] and "embeddings" not in asked.to_json()
    save_file(vectors(kind, 1, seed=1), home / "MyStyle.safetensors")
    assert "another one here" in other_words(made, b)[0]
    (home / "MyStyle.safetensors").unlink()
    assert "is not here" in other_words(made, b)[0] and "is not here" in other_words(made, None)[0]


def test_what_is_pooled_is_the_end_of_the_text_however_an_encoder_looks_for_it(b, kind, home, monkeypatch):
    """Configs of before 2023 say that the mark of the end is token 2, and mean the largest token of the row."""
    if kind == "xl":
        save_file(vectors(kind, 3), home / "mystyle.safetensors")
        usual = b.text.encode("a mystyle cube")["pooled"]
        monkeypatch.setattr(b.text.readers[1].encoder.text_model, "eos_token_id", 2)
        assert torch.equal(b.text.encode("a mystyle cube")["pooled"], usual)
