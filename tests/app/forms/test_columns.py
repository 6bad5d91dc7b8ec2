"""Columns of one's own comparison: called by what differs, given what is in view, all of one task."""

import pytest

from app.forms.columns import differing, headers, shown, task_of, unfitting, with_inputs_of
from app.schema.method_inputs import BoxValue, DegradationValue, MaskEdge, Use
from app.schema.recipe import Recipe, RecipeError

A, B = "a" * 64, "b" * 64
BASE = Recipe(prompt="a red cube on grass", cfg_scale=4.0)
SDEDIT = Use(name="sdedit", inputs={"source": A})
INVERTED = Use(name="ddim_inversion", inputs={"source": A, "source_prompt": "a blue cube on grass"})
PAINTED = Use(name="repaint", inputs={"known": A, "mask": B})


def test_columns_are_called_by_what_differs_and_by_nothing_else():
    two = [BASE, BASE.but(cfg_scale=7.0)]
    assert headers(two) == ["CFG Scale 4", "CFG Scale 7"]
    assert headers([BASE.but(sampler="euler", steps=20), BASE.but(sampler="heun", steps=10)]) == [
        "Euler · Sampling steps 20", "Heun · Sampling steps 10"]  # fmt: skip
    strengths = [BASE.but(methods=(SDEDIT.model_copy(update={"knobs": {"strength": n}}),)) for n in (0.3, 0.6)]
    assert [one.rpartition(" ")[2] for one in headers(strengths)] == ["0.3", "0.6"]
    assert not any("image to image" in one for one in headers(strengths))
    assert headers([BASE, BASE.but(methods=(SDEDIT,))]) == ["no method", "SDEdit (image to image)"]
    assert headers([BASE, BASE.but(prompt="a cone")]) == ["“a red cube on grass”", "“a cone”"]


def test_a_column_alone_is_called_by_its_methods_and_seeds_and_counts_make_no_difference():
    assert headers([BASE.but(methods=(SDEDIT,))]) == ["SDEdit (image to image)"]
    assert headers([BASE, BASE.but(seed=5, count=4)]) == ["no method", "no method"]
    assert differing(BASE.but(seed=5, steps=7), BASE.but(steps=9)) == {"steps": 7}
    varied = BASE.but(variation_strength=0.5)
    assert differing(varied, BASE) == {"variation_strength": 0.5} and differing(BASE, varied) == {
        "variation_strength": 0.0
    }
    assert headers([BASE, varied]) == ["Variation strength 0", "Variation strength 0.5"]


def test_a_method_gets_the_inputs_of_the_stack_and_nothing_else():
    (filled,) = with_inputs_of("blended_latent", (PAINTED,))
    assert dict(filled.inputs) == {"known": A, "mask": B}
    assert with_inputs_of("prompt_to_prompt", (INVERTED,))[0] == INVERTED
    assert with_inputs_of("perturbed_attention", ()) == (Use(name="perturbed_attention"),)


@pytest.mark.parametrize("name, stack, words", [
    ("repaint", (SDEDIT,), "no mask"), ("ddim_inversion", (SDEDIT,), "no source prompt"), ("ddnm", (), "DDNM"),
    ("layout_guidance", (PAINTED,), "no boxes"), ("semantic_guidance", (INVERTED,), "gives it no"),
])  # fmt: skip
def test_a_method_whose_inputs_are_not_there_is_refused_and_nothing_is_made_up(name, stack, words):
    with pytest.raises(RecipeError, match="Add this stack as a column") as refused:
        with_inputs_of(name, stack)
    assert words in str(refused.value)


def test_inputs_that_the_prompt_knows_nothing_of_are_said():
    box = BoxValue(left=0, top=0, right=1, bottom=1, text="a small blue sphere")
    for use, word in ((Use(name="attend_and_excite", inputs={"words": "cube, sphere"}), "“sphere”"),
                      (Use(name="layout_guidance", inputs={"boxes": (box,)}), "“small”, “blue”, “sphere”"),
                      (Use(name="ddim_inversion", inputs={"source": A, "source_prompt": "two dogs"}),
                       "no word in common")):  # fmt: skip
        (said,) = unfitting(BASE.but(methods=(use,)))
        assert word in said
    assert unfitting(BASE.but(methods=(INVERTED,))) == []
    adapted = Use(name="ddim_inversion", inputs={"source": A, "source_prompt": "two dogs <lora:cube:1>"})
    assert len(unfitting(BASE.but(prompt="a (cube:1.3)", methods=(adapted,)))) == 1, "an adapter is no word"


def test_all_columns_are_measured_against_what_they_agree_on():
    task, notes = task_of([BASE, BASE.but(methods=(INVERTED,)), BASE.but(methods=(SDEDIT,))])
    assert (task.source, task.source_prompt, task.kind, notes) == (A, "a blue cube on grass", "editing", [])
    task, notes = task_of([BASE.but(methods=(SDEDIT,)), BASE.but(methods=(Use(name="sdedit", inputs={"source": B}),))])
    assert task.source == "" and "different images" in notes[0]
    given = DegradationValue(image=A, name="super_resolution", parameters={"factor": 4})
    task, _ = task_of([BASE.but(methods=(Use(name=name, inputs={"measured": given}),)) for name in ("dps", "ddnm")])
    assert task.observation == given and task.kind == "restoration"
    _, notes = task_of([BASE, BASE.but(prompt="a cone")])
    assert "different prompts" in notes[0]
    map_ = Use(name="energy_guidance", knobs={"energy": "depth map"}, inputs={"target": A})
    task, _ = task_of([BASE.but(methods=(Use(name="controlnet", inputs={"depth": A}),)), BASE.but(methods=(map_,))])
    assert task.depth == A and task.kind == "depth"


def test_columns_that_fit_their_images_differently_are_told_apart_and_measured_each_by_its_own():
    padded = Use(name="sdedit", inputs={"source": A}, fit={"source": "pad"})
    task, notes = task_of([BASE.but(methods=(padded,)), BASE.but(methods=(INVERTED,))])
    assert (task.source, task.fit) == ("", "crop") and "differently" in notes[0]
    task, notes = task_of([BASE.but(methods=(padded,)), BASE])
    assert (task.source, task.fit, notes) == (A, "pad", [])
    cropped = padded.model_copy(update={"fit": {}})
    names = headers([BASE.but(methods=(padded,)), BASE.but(methods=(cropped,))])
    assert names == ["resize and fill", "crop and resize"]
    (own,) = with_inputs_of("repaint", (PAINTED.model_copy(update={"fit": {"known": "pad"}}),))
    assert own.fit == {"known": "pad"}


def test_the_edges_of_masks_go_with_them():
    soft = PAINTED.model_copy(update={"mask_edges": {"mask": MaskEdge(feather=4)}})
    (own,) = with_inputs_of("repaint", (soft,))
    assert own.mask_edges == soft.mask_edges
    task, notes = task_of([BASE.but(methods=(soft,))])
    assert (task.mask_edge.feather, notes) == (4, [])
    task, notes = task_of([BASE.but(methods=(one,)) for one in (soft, PAINTED)])
    assert task.mask == "" and "edges" in notes[0]
    assert headers([BASE.but(methods=(one,)) for one in (soft, PAINTED)])[0] == "grown by 0, feathered by 4"


def test_all_that_a_column_is_given_is_in_view_and_words_stay_words():
    from PIL import Image

    recipe = BASE.but(prompt="<b>", methods=(INVERTED, PAINTED))
    html = shown([recipe], lambda sha: Image.new("RGB", (200, 100)), None)
    assert html.count("<img") == 3 and "a blue cube on grass" in html and "&lt;b&gt;" in html and "<b>&lt;" not in html
    assert shown([], lambda sha: None, None) == ""
