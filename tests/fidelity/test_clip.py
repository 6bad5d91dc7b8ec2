"""The CLIP score: of a CLIP of random weights, held against the two embeddings by transformers' own functions."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from fidelity import clip
from fidelity.measures import evaluate, left_out
from fidelity.target import Target
from training.text import plain_tokenizer

IMAGES = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


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
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=list(IMAGES), do_rescale=False, return_tensors="pt")
    words = tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        image_embedding = model.vision_model(**pixels).pooler_output
        text_embedding = model.text_model(**words).pooler_output
        return model.visual_projection(image_embedding), model.text_projection(text_embedding)


def test_it_is_a_hundred_times_the_cosine_of_the_two(folder):
    got = clip.load_score(str(folder))(IMAGES, "a red cube")
    image_embedding, text_embedding = embeddings(folder, "a red cube")
    torch.testing.assert_close(
        got, (100 * F.cosine_similarity(image_embedding, text_embedding)).clamp(min=0), atol=1e-4, rtol=1e-4
    )
    assert got.shape == (2,) and got[0] != got[1]


def test_one_thread_at_a_time_looks_for_it(monkeypatch):
    """The cells of a comparison ask at once, and the first import of transformers does not bear two threads."""
    inside, most = [], []

    def load(named):
        inside.append(named)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    monkeypatch.setattr(clip, "_load", load)
    list(ThreadPoolExecutor(8).map(lambda _: clip.installed(), range(8)))
    assert most == [1] * 8


def test_a_text_too_long_is_cut(folder):
    assert clip.load_score(str(folder))(IMAGES, "a red cube on grass " * 20).isfinite().all()


def test_other_images_are_measured_by_it_if_there_is_one_and_the_page_says_how_if_not(folder, monkeypatch):
    monkeypatch.setenv("NINE_WAYS_CLIP", str(folder))
    with_clip = Target(prompt="a red cube", clip=clip.installed())
    assert 0 <= evaluate(IMAGES[:1], with_clip)["clip"] <= 100
    assert "NINE_WAYS_CLIP" not in left_out(with_clip, IMAGES[:1])
    monkeypatch.setenv("NINE_WAYS_CLIP", str(folder / "nothing"))
    assert clip.installed() is None
    without_clip = Target(prompt="a red cube")
    assert "clip" not in evaluate(IMAGES[:1], without_clip) and "NINE_WAYS_CLIP" in left_out(without_clip, IMAGES[:1])
