"""T5 folders as older ones are published: with SentencePiece's own file in place of tokenizer.json (PixArt)."""

import json

import pytest
import sentencepiece
import torch

import backbones
from backbones.outline import outline
from tests.support import tiny_transformers
from tests.support.tiny import WORDS

TEXT = "a large red sphere on grass, small blue cube"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny_transformers.save(tmp_path_factory.mktemp("pixart"), "pixart-sigma")
    home = folder / "tokenizer"
    for file in home.iterdir():
        file.unlink()
    words = folder / "words.txt"
    words.write_text("\n".join([*WORDS, TEXT] * 20), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(words), model_prefix=str(home / "spiece"), vocab_size=48, hard_vocab_limit=False, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=3,
    )  # fmt: skip
    (home / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "T5Tokenizer", "model_max_length": 300, "extra_ids": 0, "eos_token": "</s>",
        "pad_token": "<pad>", "unk_token": "<unk>",
    }))  # fmt: skip
    return folder


def test_a_prompt_is_cut_into_the_file_s_own_pieces(folder):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer" / "spiece.model")).encode(TEXT)
    b = backbones.load(str(folder))
    encoder = b.text.pipe.text_encoder
    with torch.no_grad():
        want = encoder(torch.tensor([[*pieces, 1]]))[0]
    got = b.encode_prompt([TEXT])["text"][:, : want.shape[1]]
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()
    assert outline(str(folder)).count_tokens(TEXT)[0] == len(pieces)
