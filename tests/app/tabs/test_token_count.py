"""What stands beside the label of a prompt: how many tokens it takes, of how many that the chosen model reads."""

import re
from types import SimpleNamespace

import pytest

from app.tabs.token_count import line


def model(backbone):
    return SimpleNamespace(name="<Mine>", backbone=backbone)


def reads(places, in_chunks):
    """A backbone that takes each word for a token."""

    def count(text):
        taken = len(text.split())
        return taken, places * max(1, -(-taken // places)) if in_chunks else places

    return SimpleNamespace(reads_chunks=in_chunks, count_tokens=count)


@pytest.mark.parametrize(
    ("places", "in_chunks", "words", "said", "title"),
    [
        (75, True, 12, "12 / 75 tokens", "reads 75 at a time."),
        (75, True, 75, "75 / 75 tokens", "reads 75 at a time."),
        (75, True, 76, "76 / 150 tokens", "reads 75 at a time; here 2 times"),
        (54, False, 54, "54 / 54 tokens", "reads 54."),
        (54, False, 60, "60 / 54 tokens", "reads 54 of them. The end of the text is not read."),
    ],
)
def test_tokens_are_counted_as_the_model_reads_them(places, in_chunks, words, said, title):
    html = line(model(reads(places, in_chunks)), "red " * words)
    assert re.sub("<.*?>", "", html) == said and title in html and "&lt;Mine&gt;" in html
    assert ("nw-warn" in html) is (words > places and not in_chunks)


def test_of_several_prompts_the_longest_is_counted():
    assert "76 / 150 tokens" in line(model(reads(75, True)), "a red cube", "red " * 76, "grass")


def test_nothing_is_said_where_there_is_nothing_to_count():
    assert line(model(reads(75, True)), "  ") == "", "no words"
    assert line(model(None), "red") == "", "not loaded yet"
    assert line(model(SimpleNamespace()), "red") == "", "texts of any length"
    assert line(model(SimpleNamespace(count_tokens=lambda text: (0, 0))), "red") == "", "reads no words"
