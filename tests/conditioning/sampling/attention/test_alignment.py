"""Which word stands for which, and how attention to tokens follows."""

import pytest
import torch

from conditioning.sampling.attention.alignment import Reading, pairs, said
from conditioning.sampling.attention.alignment import mapping as mapped


def words(text: str) -> list[tuple[str, list[int]]]:
    """A word of n letters in capitals has n tokens, any other one."""
    tokens, place = [], 1
    for word in text.split():
        n = len(word) if word.isupper() else 1
        tokens.append((word, list(range(place, place + n))))
        place += n
    return tokens


def mapping(source, target, length, chunk, swap):
    parts = [(begin, begin + chunk) for begin in range(0, length, chunk)]
    return mapped(Reading(source, parts), Reading(target, parts), swap)


@pytest.mark.parametrize("source, target, swap, expected", [
    ("a red cube", "a red cube", False, [(0, 0), (1, 1), (2, 2)]),
    ("a red cube", "a blue cube", False, [(0, 0), (2, 2)]),
    ("a red cube", "a blue cube", True, [(0, 0), (1, 1), (2, 2)]),
    ("a red cube and a ball", "a ball and a red cube", True, [(i, i) for i in range(6)]),
    ("a cube on grass", "a small cube on grass", True, [(0, 0), (1, 2), (2, 3), (3, 4)]),
    ("a cube on grass", "a large red cube on snow", True, [(0, 0), (1, 3), (2, 4), (3, 5)]),
    ("a red cube on grass", "a cube", True, [(0, 0), (2, 1)]),
    ("red", "blue ball", True, []), ("", "blue", True, []), ("one two", "two one x", False, [(1, 0)]),
])  # fmt: skip
def test_words_that_stand_for_words(source, target, swap, expected):
    assert pairs(source.split(), target.split(), swap) == expected


def test_a_swapped_word_takes_the_attention_of_the_one_it_replaces():
    T, own = mapping(words("a red cube"), words("a blue cube"), 7, 7, swap=True)
    assert torch.equal(T, torch.eye(7)) and not own.any()
    T, own = mapping(words("a red cube"), words("a blue cube"), 7, 7, swap=False)
    assert own.tolist() == [0, 0, 1, 0, 0, 0, 0] and torch.equal(T.sum(0), 1 - own)


def test_a_new_word_keeps_its_own_and_shifts_the_others():
    T, own = mapping(words("a cube"), words("a small cube"), 7, 7, swap=True)
    assert T.nonzero().tolist() == [[0, 0], [1, 1], [2, 3], [3, 4], [5, 5], [6, 6]]  # the end goes to the end
    assert own.tolist() == [0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("target", ["a ABC cube", "a AB cube", "a c cube", "a ABCD cube"])
def test_attention_is_shared_out_among_the_tokens_of_a_word(target):
    T, own = mapping(words("a AB cube"), words(target), 12, 12, swap=True)
    places = dict(words(target))[target.split()[1]]
    assert not own.any()
    assert T[2:4].sum(1).tolist() == pytest.approx([1.0, 1.0])  # none of it is lost, none made
    assert T[2:4, places].sum().item() == pytest.approx(2.0)


def test_where_words_go_the_end_is_shared_by_the_filling():
    T, own = mapping(words("a red cube"), words("a cube"), 8, 8, swap=True)
    end = T[4]
    assert end[3:5].tolist() == [0.5, 0.5] and T[2].sum() == 0 and not own.any()
    assert all(T[i, i] == 1 for i in (5, 6, 7))


def test_in_every_chunk_start_goes_to_start_and_end_to_end():
    """Two chunks of 7 places each, as of a long prompt; the target's second one says a word more."""
    source, target = words("a red cube"), words("a red cube")
    source += [("on", [8]), ("grass", [9])]
    target += [("on", [8]), ("wet", [9]), ("grass", [10])]
    T, own = mapping(source, target, 14, 7, swap=True)
    assert torch.equal(T[:7, :7], torch.eye(7)) and not T[:7, 7:].any() and not T[7:, :7].any()
    alone, own_alone = mapping(
        [(word, [place - 7 for place in at]) for word, at in source[3:]],
        [(word, [place - 7 for place in at]) for word, at in target[3:]], 7, 7, swap=True,
    )  # fmt: skip
    assert torch.equal(T[7:, 7:], alone) and torch.equal(own[7:], own_alone) and not own[:7].any()


def test_what_a_prompt_says(tiny_net):
    cond = tiny_net.encode_prompt(["a red cube", "red sphere and red cube"])
    marks = said(["red", "cube", "grass"], cond, tiny_net)
    assert [row.nonzero().flatten().tolist() for row in marks] == [[2, 3], [1, *_at(tiny_net, cond, 1)]]


def _at(b, cond, row):
    tokens = b.words(cond["tokens"][row])
    return sorted(place for i, (word, at) in enumerate(tokens) if i and word in ("red", "cube") for place in at)
