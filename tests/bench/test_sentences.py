"""The bench of people's sentences: its claims are whole, claims are compared by sense, images are judged one by one."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from bench import sentences as bench
from world.captions import describe
from world.claims import Claim, Claims
from world.render import render
from world.scene import COLOURS, GROUNDS, SHAPES, SKIES, draw


@pytest.fixture(scope="module")
def items():
    return bench.sentences()


def test_what_is_written_by_hand_is_whole(items):
    assert len(items) == 100 == len({item.text for item in items})
    for item in items:
        claims, n = item.claims, len(item.claims.solids)
        assert claims.anything and n <= 4, item.text
        numbers = [i for a, _, b in claims.relations for i in (a, b)] + [a for a, _ in claims.places]
        numbers += [i for group in (*claims.between, *claims.counts) for i in group]
        assert all(0 <= i < n for i in numbers), item.text
        assert claims.ground in (None, *GROUNDS) and claims.sky in (None, *SKIES), item.text
        assert {relation for _, relation, _ in claims.relations} <= {"left", "right", "front", "behind", "next", "far"}
        assert {place for _, place in claims.places} <= {"left", "right", "middle", "front", "back"}
    said = [claim for item in items for claim in item.claims.solids]
    assert {claim.colour for claim in said} >= set(COLOURS) and {claim.shape for claim in said} >= set(SHAPES)


def test_a_solid_in_other_words_is_refused():
    assert bench.claim("large red cube") == Claim("cube", "red", "large") and bench.claim("red") == Claim(colour="red")
    with pytest.raises(ValueError, match="'crimson' of 'crimson cube'"):
        bench.claim("crimson cube")


def test_the_parser_reads_nearly_all_of_them(items):
    assert np.mean([bench.same(bench.parse(one.text), one.claims) for one in items]) >= 0.95


def test_claims_are_the_same_in_any_order_of_their_solids_and_in_no_other_way():
    rng = np.random.default_rng(0)
    for n in range(60):
        claims = describe(draw("test", n), rng, "any").claims
        for order in list(permutations(range(len(claims.solids))))[:6]:
            assert bench.same(renumbered(claims, order), claims)
        assert not bench.same(replace(claims, ground="lava"), claims)
        assert not bench.same(replace(claims, absent=(*claims.absent, Claim("cube", "mauve"))), claims)
        first = replace(claims.solids[0], colour="mauve")
        assert not bench.same(replace(claims, solids=(first, *claims.solids[1:])), claims)


def renumbered(claims: Claims, order) -> Claims:
    solids = sorted(range(len(order)), key=order.__getitem__)
    return replace(
        claims,
        solids=tuple(claims.solids[i] for i in solids),
        relations=tuple((order[a], r, order[b]) for a, r, b in claims.relations),
        places=tuple((order[a], place) for a, place in claims.places),
        between=tuple((order[a], order[c], order[b]) for a, b, c in claims.between),
        counts=tuple(tuple(order[i] for i in reversed(group)) for group in claims.counts),
    )


def test_a_sentence_with_a_colour_that_the_evaluator_lacks_is_not_evaluated(items):
    black = next(one for one in items if any(claim.colour == "black" for claim in one.claims.solids))
    assert bench.can_be_evaluated(black, len(COLOURS)) and not bench.can_be_evaluated(black, 8)
    assert all(bench.can_be_evaluated(one, len(COLOURS)) for one in items)


def test_images_of_the_claimed_scenes_are_right_and_those_of_others_wrong(tmp_path, monkeypatch, capsys):
    scenes = [draw("test", n) for n in range(24)]
    captions = [describe(scene, np.random.default_rng(n), "any") for n, scene in enumerate(scenes)]
    made = [bench.Sentence("caption", one.text, one.claims) for one in captions]
    monkeypatch.setattr(bench, "sentences", lambda: made)
    bench.save_images(tmp_path, torch.cat([render(scenes, 128).rgb]), [one.text for one in made], 0)
    bench.main(["--images", str(tmp_path), "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["parser"] == 100 and figures["atoms"] > 90 and figures["prompts"] > 65
    assert figures["atoms_chance"] < 40 and figures["prompts_chance"] < 10
    assert figures["atoms_of"] == sum(figures[f"atoms_{kind}_of"] for kind in bench.KINDS if f"atoms_{kind}" in figures)
    assert "every claim right" in capsys.readouterr().out


def test_the_parser_alone(tmp_path):
    bench.main(["--parser", "--json", str(tmp_path / "figures.json")])
    assert set(json.loads((tmp_path / "figures.json").read_text())) == {"parser", "parser_of"}
