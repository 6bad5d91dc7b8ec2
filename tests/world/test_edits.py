"""Edits: the instruction says what was done, and nothing else was."""

import numpy as np
import pytest
import torch

from world.captions import SHAPE_WORDS, describe, parse, relations
from world.edits import KINDS, VOCABULARY, Edit, edit, referring_expression, render_edits
from world.scene import HELD_OUT, Scene, Solid, well_placed

ATTRIBUTE = {"recolour": "colour", "shape": "shape", "size": "size", "material": "material"}
CUBE = Solid("cube", "red", "small", "matte", -1.0, 0.0)


def edits(scenes: list[Scene], kind: str) -> list[Edit]:
    made = []
    for n, scene in enumerate(scenes):
        try:
            made.append(edit(scene, np.random.default_rng([n, 1]), kind))
        except ValueError as error:
            assert "allows no edit" in str(error)
    assert len(made) > 0.6 * len(scenes)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_meant_changes(kind: str, drawn) -> None:
    for edited in edits(drawn("train", 120), kind):
        before, after = edited.before, edited.after
        assert edited.kind == kind and before != after and well_placed(after), edited.instruction
        assert not HELD_OUT & {(s.colour, s.shape) for s in after.solids}
        assert (before.ground == after.ground) == (kind != "ground")
        assert (before.sky == after.sky) == (kind != "sky")
        assert (before.camera == after.camera) == (kind != "view")
        assert before.sun == after.sun
        i, j = edited.subject
        left = [s for k, s in enumerate(before.solids) if k != i]
        assert left == [s for k, s in enumerate(after.solids) if k != j], edited.instruction
        if kind in ATTRIBUTE:
            old, new = before.solids[i], after.solids[j]
            differ = {f for f in Solid.__annotations__ if getattr(old, f) != getattr(new, f)}
            assert differ == {ATTRIBUTE[kind]}, edited.instruction
        if kind == "move":
            old, new = before.solids[i], after.solids[j]
            assert {f for f in Solid.__annotations__ if getattr(old, f) != getattr(new, f)} <= {"x", "y"}


def test_instructions_name_one_solid_and_say_what_becomes_of_it(drawn) -> None:
    """The solid is read back by the captions' parser, up to its noun: what follows becomes of it."""
    nouns = {noun for words in SHAPE_WORDS.values() for noun in words}
    for kind in ("recolour", "size", "material", "remove"):
        for edited in edits(drawn("train", 120), kind):
            noun = next(word for word in edited.instruction.split() if word in nouns)
            it, *_ = parse(edited.instruction.split(noun)[0] + noun).solids
            solid = edited.before.solids[edited.subject[0]]
            assert (it.shape, it.colour) == (solid.shape, solid.colour), edited.instruction
            fits = [
                s for s in edited.before.solids
                if all(getattr(it, a) in (None, getattr(s, a)) for a in ("shape", "colour", "size", "material"))
            ]  # fmt: skip
            sided = any(
                edited.instruction.find(w) > 0 for w in ("on the left", "on the right", "in front", "at the back")
            )
            assert fits == [solid] or sided, edited.instruction
            if kind != "remove":
                value = getattr(edited.after.solids[edited.subject[1]], ATTRIBUTE[kind])
                words = {"size": {"small": "small little", "large": "large big"}, "material": {"metal": "metal shiny"}}
                choices = words.get(kind, {}).get(value, value).split()
                assert any(edited.instruction.split()[-1 - k] in choices for k in (0, 1)), edited.instruction


def test_places_are_true_after_the_edit(drawn) -> None:
    for kind in ("add", "move"):
        checked = 0
        for edited in edits(drawn("train", 200), kind):
            new = edited.subject[1]
            old, now = edited.before, edited.after
            claims = parse(edited.instruction)
            if claims.relations:
                (_, relation, _), *_ = claims.relations
                other = claims.solids[-1]
                fits = [
                    k
                    for k, s in enumerate(now.solids)
                    if k != new and (s.colour, s.shape) == (other.colour, other.shape)
                ]
                assert any(relation in relations(now, new, k) for k in fits), edited.instruction
                checked += 1
            elif kind == "move":
                (u, _, near), (u_old, _, near_old) = now.place(new), old.place(new)
                if "left" in edited.instruction.split()[-1]:
                    assert u < u_old - 0.25, edited.instruction
                if edited.instruction.endswith(("right",)):
                    assert u > u_old + 0.25, edited.instruction
                if edited.instruction.endswith(("to the front", "nearer to us")):
                    assert near < near_old - 0.7, edited.instruction
                if edited.instruction.endswith(("to the back", "further away")):
                    assert near > near_old + 0.7, edited.instruction
                if edited.instruction.endswith("other side"):
                    assert u * u_old < 0, edited.instruction
        assert checked > 20


def test_captions_of_edited_scenes_are_true(drawn) -> None:
    for n, scene in enumerate(drawn("train", 150)):
        rng = np.random.default_rng(n)
        after = edit(scene, rng).after
        caption = describe(after, rng)
        claims = parse(caption.text)
        assert sorted((c.shape, c.colour) for c in claims.solids) == sorted((s.shape, s.colour) for s in after.solids)
        assert (claims.ground, claims.sky) == (after.ground, after.sky)


def test_instructions_vary_and_are_repeatable(drawn) -> None:
    scene = next(s for s in drawn("train", 20) if len(s.solids) == 2)
    texts = {edit(scene, np.random.default_rng(k)).instruction for k in range(80)}
    assert len(texts) > 60
    assert edit(scene, np.random.default_rng(3)) == edit(scene, np.random.default_rng(3))


def test_every_word_is_in_the_vocabulary(drawn) -> None:
    for n, scene in enumerate(drawn("train", 300)):
        text = edit(scene, np.random.default_rng([n, 5])).instruction
        assert set(text.split()) <= VOCABULARY, text


def test_names_of_twins() -> None:
    rng = np.random.default_rng(0)
    twins = Scene((CUBE, Solid("cube", "red", "small", "matte", 1.0, 0.0)), "sand", "day")
    assert referring_expression(twins, 0, rng) in ("the red cube on the left", "the red block on the left")
    assert referring_expression(twins, 1, rng) in ("the red cube on the right", "the red block on the right")
    other = twins.with_solid(1, size="large")
    assert referring_expression(other, 1, rng).split()[1] in ("large", "big")
    close = Scene((CUBE, Solid("cube", "red", "small", "matte", -1.0, 0.1)), "sand", "day")
    assert referring_expression(close, 0, rng) is None


def test_mask_is_where_the_images_differ() -> None:
    scene = Scene((CUBE, Solid("sphere", "blue", "large", "metal", 1.0, 0.0)), "grass", "day")
    made = [edit(scene, np.random.default_rng(1), kind) for kind in ("recolour", "remove", "sky")]
    before, after, mask = render_edits(made, 64)
    assert mask.shape == (3, 64, 64) and mask.dtype == torch.bool
    for b, edited in enumerate(made):
        difference = (before.rgb[b] - after.rgb[b]).abs().amax(0)
        assert torch.equal(mask[b], difference > 0.5 / 255)
        i = edited.subject[0]
        if edited.kind == "recolour":
            solid = torch.nn.functional.max_pool2d((before.instances[b] == i).float()[None], 3, 1, 1)[0] > 0
            assert (mask[b] <= solid).all() and mask[b].sum() > 0.5 * solid.sum()
        if edited.kind == "remove":
            assert (mask[b] >= (before.instances[b] == i)).float().mean() > 0.99
    assert mask[2].float().mean() > 0.95


def test_errors_in_words() -> None:
    scene = Scene((CUBE,), "sand", "day")
    with pytest.raises(ValueError, match="allowed are recolour, remove"):
        edit(scene, np.random.default_rng(0), "explode")
    with pytest.raises(ValueError, match="allows no edit 'remove'"):
        edit(scene, np.random.default_rng(0), "remove")
