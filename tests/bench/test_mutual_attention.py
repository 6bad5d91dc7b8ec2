"""What self-attention carries is measured between 0, nothing, and 1, all of it."""

import pytest
import torch

from bench.mutual_attention import carried


class Site:
    kind, name, index, of = "self", "only", 1, 2


class Attending:
    """A network whose prediction is `part` of what its one layer of self-attention gives, and the rest of its text."""

    def __init__(self, part):
        self.part = part

    def denoise(self, ask):
        text = ask.cond["text"][:, None, None, :1].expand_as(ask.x)
        seen = text
        if ask.edit is not None:
            seen = ask.edit.attend(Site, text, text, text, lambda q, k, v: v)
        return self.part * seen + (1 - self.part) * text


@pytest.mark.parametrize(("part", "layer", "expected"), [(1.0, 0.0, 1), (0.0, 0.0, 0), (0.3, 0.5, 0.3), (1.0, 0.9, 0)])
def test_the_way_that_is_made(part, layer, expected):
    own, other = ({"text": torch.tensor([[1.0, 0], [value, 0]])} for value in (3.0, -2.0))
    other["text"] = other["text"] - 1
    found = carried(Attending(part), torch.zeros(2, 4, 8, 8), 1.0, own, other, layer)
    torch.testing.assert_close(found, torch.full((2,), float(expected)))
