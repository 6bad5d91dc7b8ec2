"""The CLIP score: of a CLIP of random weights, held against the two embeddings by transformers' own functions."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from fidelity import clip
from fidelity.measures import Told, left_out, measured
from training.text import plain_tokenizer

PICTURES = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP as people have it: model, tokenizer and processor in one folder."""
    here = tmp_path_factory.mktemp("clip")
    tokenizer = plain_tokenizer()
    tokenizer.save_pretrained(here)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    CLIPModel(config).save_pretrained(here, safe_serialization=True)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(here)
    return here


def embeddings(folder, text):
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=list(PICTURES), do_rescale=False, return_tensors="pt")
    words = tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        seen = model.vision_model(**pixels).pooler_output
        read = model.text_model(**words).pooler_output
        return model.visual_projection(seen), model.text_projection(read)


def test_it_is_a_hundred_times_the_cosine_of_the_two(folder):
    got = clip.opened(str(folder))(PICTURES, "a red cube")
    seen, read = embeddings(folder, "a red cube")
    torch.testing.assert_close(got, (100 * F.cosine_similarity(seen, read)).clamp(min=0), atol=1e-4, rtol=1e-4)
    assert got.shape == (2,) and got[0] != got[1]


def test_one_thread_at_a_time_looks_for_it(monkeypatch):
    """The cells of a comparison ask at once, and the first import of transformers does not bear two threads."""
    inside, most = [], []

    def found(named):
        inside.append(named)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    monkeypatch.setattr(clip, "_found", found)
    list(ThreadPoolExecutor(8).map(lambda _: clip.installed(), range(8)))
    assert most == [1] * 8


def test_a_text_too_long_is_cut(folder):
    assert clip.opened(str(folder))(PICTURES, "a red cube on grass " * 20).isfinite().all()


def test_other_worlds_are_measured_by_it_where_it_is_and_told_how_where_not(folder, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_CLIP", str(folder))
    there = Told(prompt="a red cube", clip=clip.installed())
    assert 0 <= measured(PICTURES[:1], there)["clip"] <= 100 and "NINE_WAYS_CLIP" not in left_out(there)
    monkeypatch.setenv("NINE_WAYS_CLIP", str(folder / "nothing"))
    assert clip.installed() is None
    nowhere = Told(prompt="a red cube")
    assert "clip" not in measured(PICTURES[:1], nowhere) and "NINE_WAYS_CLIP" in left_out(nowhere)
