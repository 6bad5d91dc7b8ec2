"""The tokenizer and the captions as arrays."""

import numpy as np
import pytest
from transformers import CLIPTokenizer

from backbones import STILL_LIFE
from training.text import LENGTH, PLAIN_LENGTH, _rows, build_tokenizer, plain_tokenizer
from world.captions import PLAIN_VOCABULARY, describe
from world.scene import SHAPES, draw, random_scene
from world.vocabulary import VOCABULARY


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.mark.parametrize(("make", "known"), [(build_tokenizer, VOCABULARY), (plain_tokenizer, PLAIN_VOCABULARY)])
def test_every_word_of_the_world_is_one_token(make, known):
    tokenizer = make()
    spelt = {word: tokenizer.convert_ids_to_tokens(tokenizer(word)["input_ids"][1:-1]) for word in known}
    assert {word for word, pieces in spelt.items() if pieces != [word + "</w>"]} == set()


def test_the_plain_tokenizer_is_that_of_the_first_networks():
    shipped, plain = CLIPTokenizer.from_pretrained(STILL_LIFE / "tokenizer", local_files_only=True), plain_tokenizer()
    assert plain.get_vocab() == shipped.get_vocab() and plain.model_max_length == shipped.model_max_length
    for text in (describe(draw("test", 3), np.random.default_rng(0)).text, "two boxes; a Zebra!"):
        assert plain(text)["input_ids"] == shipped(text)["input_ids"]


def test_captions_are_their_words_in_tokens(tokenizer):
    rng = np.random.default_rng(0)
    for n in range(300):
        caption = describe(random_scene(rng, 1 + n % 4, alike=0.3), rng, "any")
        pieces = tokenizer.convert_ids_to_tokens(tokenizer(caption.text)["input_ids"][1:-1])
        assert [piece.removesuffix("</w>") for piece in pieces] == list(caption.words)
        assert len(pieces) + 2 <= LENGTH


def test_other_words_are_spelt_and_nothing_is_unknown(tokenizer):
    ids = tokenizer("q 7 éléphant redcube 红")["input_ids"]
    assert tokenizer.eos_token_id not in ids[:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == "q7éléphantredcube红"


def test_capitals_and_spaces_do_not_matter(tokenizer):
    assert tokenizer("A  Red\nSphere")["input_ids"] == tokenizer("a red sphere")["input_ids"]


def test_the_folder_reads_back_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = "a large red ball to the left of a small blue cube, on grass at sunset"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.model_max_length == LENGTH


def test_plain_captions_as_arrays():
    tokenizer = plain_tokenizer()
    tokens, owners, nouns, attributes, place = _rows("train", 40, 60, 3)
    for row in range(20):
        scene = draw("train", 40 + row)
        assert place[row, 2] == len(scene.solids) - 1
        for k in range(3):
            caption = describe(scene, np.random.default_rng([40 + row, k]))
            padded = tokenizer(caption.text, padding="max_length")["input_ids"]
            assert tokens[row, k].tolist() == padded
            for i, solid in enumerate(scene.solids):
                noun = tokenizer.convert_ids_to_tokens(int(tokens[row, k, nouns[row, k, i]])).removesuffix("</w>")
                assert SHAPES[attributes[row, i, 0]] == solid.shape
                assert owners[row, k, nouns[row, k, i]] == i
                assert noun in (solid.shape, {"sphere": "ball", "cube": "block", "torus": "ring"}.get(solid.shape))
            assert (nouns[row, k, len(scene.solids) :] == 0).all()


def test_plain_captions_fit_the_length():
    longest = max(len(describe(draw("train", n), np.random.default_rng(n)).words) for n in range(500))
    assert longest + 2 <= PLAIN_LENGTH
