"""Captions of every style are true of their scenes, and read back exactly what they say."""

from collections import Counter

import numpy as np
import pytest

from world.atoms import SceneView, atoms
from world.captions import LONGEST, PLAIN_VOCABULARY, describe, parse, random_caption, relations
from world.claims import Claims
from world.scene import COLOURS, FIRST_COLOURS, random_scene
from world.styles import STYLES
from world.vocabulary import NOUNS, VOCABULARY

ALL = ("plain", *STYLES)
EACH = 500  # captions of a style


@pytest.fixture(scope="module")
def any_scenes():
    """Scenes of all colours, with more solids of one kind than chance would give."""
    rng = np.random.default_rng(0)
    return [random_scene(rng, 1 + n % 4, alike=0.3) for n in range(EACH)]


def captions(scenes, style):
    return [(scene, describe(scene, np.random.default_rng([n, 9]), style)) for n, scene in enumerate(scenes)]


def unordered(claims: Claims):
    """Claims of the same solids are the same in whatever order they are noted."""
    return (
        claims.solids,
        claims.ground,
        claims.sky,
        frozenset(claims.relations),
        frozenset(claims.places),
        frozenset((a, *sorted(others)) for a, *others in claims.between),
        frozenset(tuple(sorted(group)) for group in claims.counts),
        frozenset(claims.absent),
    )


@pytest.mark.parametrize("style", ALL)
def test_what_is_claimed_is_read_back(style: str, any_scenes) -> None:
    wrong = [c.text for _, c in captions(any_scenes, style) if unordered(parse(c.text)) != unordered(c.claims)]
    assert not wrong, f"{len(wrong)} of {EACH}: {wrong[:3]}"


@pytest.mark.parametrize("style", ALL)
def test_captions_are_true_and_name_every_solid(style: str, any_scenes) -> None:
    for scene, caption in captions(any_scenes, style):
        assert sorted(caption.order) == list(range(len(scene.solids))), caption.text
        false = [a for a in atoms(caption.claims, SceneView(scene), caption.order) if not a.true]
        assert not false, (caption.text, false)


@pytest.mark.parametrize("style", ALL)
def test_owners_point_at_the_words_of_their_solids(style: str, any_scenes) -> None:
    shapes = {form: shape for shape, pairs in NOUNS.items() for pair in pairs for form in pair}
    for scene, caption in captions(any_scenes, style):
        assert len(caption.words) == len(caption.owners)
        for word, about in zip(caption.words, caption.owners, strict=True):
            assert all(scene.solids[i].shape == shapes.get(word, scene.solids[i].shape) for i in about), caption.text
            assert all(scene.solids[i].colour == word for i in about if word in COLOURS), caption.text
        for claim, i in zip(caption.claims.solids, caption.order, strict=True):
            about = {word for word, solids in zip(caption.words, caption.owners, strict=True) if i in solids}
            assert any(shapes.get(word) == claim.shape for word in about), caption.text
            if claim.colour is not None:
                assert about & {claim.colour, "gray" if claim.colour == "grey" else ""}, caption.text
        for at, subjects in caption.links:
            assert caption.words[at].isalpha() and subjects and max(subjects) < len(scene.solids)


def test_words_are_of_the_vocabulary_and_few_enough(any_scenes) -> None:
    for style in ALL:
        for _, caption in captions(any_scenes[:200], style):
            assert set(caption.words) <= VOCABULARY and len(caption.words) <= LONGEST, caption.text


@pytest.mark.slow
def test_every_word_of_the_vocabulary_is_used() -> None:
    """Else a network would have a token for it that it was never trained on."""
    rng, used = np.random.default_rng(1), set()
    for n in range(12_000):
        scene = random_scene(rng, 1 + n % 4, alike=0.3)
        for style in ALL:
            used |= set(describe(scene, rng, style).words)
        if VOCABULARY <= used:
            break
    assert not VOCABULARY - used


def test_styles_say_what_plain_captions_do_not(any_scenes) -> None:
    said = Counter()
    for n, scene in enumerate(any_scenes * 3):
        claims = describe(scene, np.random.default_rng([n, 5]), "any").claims
        for name in ("relations", "places", "between", "counts", "absent", "ground", "sky"):
            said[name] += bool(getattr(claims, name))
    assert all(said[name] > 15 for name in ("relations", "places", "between", "counts", "absent")), said
    assert 0.6 < said["ground"] / (3 * EACH) < 0.98


def test_plain_captions_of_the_first_colours_use_the_words_of_the_first_networks(drawn) -> None:
    for n, scene in enumerate(drawn("test", 400)):
        assert set(describe(scene, np.random.default_rng(n)).words) <= PLAIN_VOCABULARY
    assert set(FIRST_COLOURS) <= PLAIN_VOCABULARY < VOCABULARY | PLAIN_VOCABULARY


def test_an_unknown_style_is_refused(drawn) -> None:
    with pytest.raises(ValueError, match="allowed are plain, any"):
        describe(drawn("test", 1)[0], np.random.default_rng(0), "baroque")


def test_relations_come_in_pairs(drawn) -> None:
    opposite = {"left": "right", "right": "left", "front": "behind", "behind": "front", "next": "next"}
    for scene in drawn("test", 300):
        for i in range(len(scene.solids)):
            for j in range(len(scene.solids)):
                if i != j:
                    back = relations(scene, j, i)
                    assert all(opposite[name] in back for name in relations(scene, i, j))


@pytest.mark.parametrize("style", ["plain", "any"])
def test_captions_vary_and_are_repeatable(style: str, drawn) -> None:
    scene = next(s for s in drawn("train", 50) if len(s.solids) == 3)
    texts = {describe(scene, np.random.default_rng(k), style).text for k in range(60)}
    assert len(texts) > 50
    assert describe(scene, np.random.default_rng(1), style) == describe(scene, np.random.default_rng(1), style)
    assert random_caption(5) == random_caption(5) != random_caption(6)
