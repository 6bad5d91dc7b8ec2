"""Captions are true of their scenes, and read back exactly what they say."""

import numpy as np
import pytest

from world.captions import VOCABULARY, Claims, describe, parse, relations, surprise, unknown_words

COUNT, EACH = 600, 3  # scenes of a split, captions of a scene


def described(scenes, each: int = 1):
    for n, scene in enumerate(scenes):
        for k in range(each):
            yield scene, describe(scene, np.random.default_rng([n, 9 + k]))


def owners(caption) -> list[int]:
    """The solids in the order in which they are first named."""
    return list(dict.fromkeys(owner for owner in caption.owners if owner is not None))


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_claims_are_true_and_nothing_is_lost(split: str, drawn) -> None:
    related = 0
    for scene, caption in described(drawn(split, COUNT), EACH):
        claims, order = parse(caption.text), owners(caption)
        assert sorted(order) == list(range(len(scene.solids))), caption.text
        assert len(claims.solids) == len(scene.solids), caption.text
        assert (claims.ground, claims.sky) == (scene.ground, scene.sky), caption.text
        for claim, owner in zip(claims.solids, order, strict=True):
            solid = scene.solids[owner]
            assert (claim.shape, claim.colour) == (solid.shape, solid.colour), caption.text
            assert claim.size in (None, solid.size), caption.text
            assert claim.material in (None, solid.material), caption.text
        for subject, relation, other in claims.relations:
            assert relation in relations(scene, order[subject], order[other]), caption.text
        related += len(claims.relations)
    assert related > 0.4 * COUNT * EACH


def test_what_is_said_is_what_is_parsed(drawn) -> None:
    """Sizes and materials are claimed if and only if their words are there."""
    for _, caption in described(drawn("train", 400)):
        claims, words = parse(caption.text), set(caption.words)
        said = bool(words & {"small", "little", "large", "big"})
        assert all((claim.size is not None) == said for claim in claims.solids), caption.text
        said = bool(words & {"matte", "metal", "shiny"})
        assert all((claim.material is not None) == said for claim in claims.solids), caption.text


def test_every_word_is_in_the_vocabulary(drawn) -> None:
    for _, caption in described(drawn("test", 500)):
        assert set(caption.words) <= VOCABULARY
        assert not unknown_words(caption.text)


def test_owners_point_at_the_words_of_their_solid(drawn) -> None:
    for scene, caption in described(drawn("train", 300)):
        assert len(caption.words) == len(caption.owners)
        for word, owner in zip(caption.words, caption.owners, strict=True):
            if owner is not None and word in {s.colour for s in scene.solids}:
                assert scene.solids[owner].colour == word, caption.text


def test_relations_come_in_pairs(drawn) -> None:
    opposite = {"left": "right", "right": "left", "front": "behind", "behind": "front", "next": "next"}
    for scene in drawn("test", 300):
        for i in range(len(scene.solids)):
            for j in range(len(scene.solids)):
                if i != j:
                    back = relations(scene, j, i)
                    assert all(opposite[name] in back for name in relations(scene, i, j))


def test_captions_vary_and_are_repeatable(drawn) -> None:
    scene = next(s for s in drawn("train", 50) if len(s.solids) == 3)
    texts = {describe(scene, np.random.default_rng(k)).text for k in range(60)}
    assert len(texts) > 50
    assert describe(scene, np.random.default_rng(1)) == describe(scene, np.random.default_rng(1))
    assert surprise(5) == surprise(5) != surprise(6)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("", Claims(())),
        ("a donut", Claims(parse("a ring").solids)),
        ("The BIG Red box!", Claims(parse("a large red cube").solids)),
        ("a red cube on a sunny day", parse("a red cube by day")),
        ("a red cube in the evening", parse("a red cube at sunset")),
    ],
)
def test_words_of_people(text: str, claims: Claims) -> None:
    assert parse(text) == claims


def test_the_definite_article_points_back() -> None:
    claims = parse("a red cube and a blue ball behind the red cube on sand at night")
    assert len(claims.solids) == 2 and claims.relations == ((1, "behind", 0),)
    assert parse("the red cube behind the blue ball").relations == ((0, "behind", 1),)


def test_unknown_words_are_told_once_and_in_order() -> None:
    assert unknown_words("a teapot and a red teapot on 3 dragons") == ["teapot", "3", "dragons"]
