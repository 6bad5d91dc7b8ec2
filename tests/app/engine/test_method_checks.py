"""What a recipe gives to its methods: checked at the field, cut to size, and the same after every round trip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import backbones
from app.engine import method_checks
from app.engine.attention_recorder import AttentionRecorder
from app.engine.engine import Engine, RunError
from app.engine.planner import Encoder, in_words, plan
from app.schema import png_metadata
from app.schema.method_inputs import BoxValue, DegradationValue, Use
from app.schema.recipe import Recipe, RecipeError
from app.storage.image_files import content_hash
from backbones.attention_sites import Site
from backbones.outline import outline
from common.fitting import fitted, fitted_mask, with_edge
from conditioning.registry import METHODS
from tests.support.doubles import recipe
from tests.support.full_methods import IMAGES, MASK, MASKED, SHA, full

ORACLE = backbones.load("exact")
SILENT = {"left": 0, "top": 0, "right": 0.5, "bottom": 1}  # a box without words


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cfg"}))
def test_every_method_survives_the_text_of_a_png_and_has_nothing_wrong_but_its_backbone(name: str) -> None:
    whole = recipe(methods=[full(name)])
    assert png_metadata.read(png_metadata.write(whole)).recipe == whole
    found = [p for p in method_checks.problems(whole, ORACLE) if p.field != "methods.0"]
    assert not found
    if not method_checks.problems(whole, ORACLE):
        assert plan(whole, ORACLE, Encoder(ORACLE), IMAGES).formula


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cfg"}))
def test_what_is_missing_is_said_at_its_field(name: str) -> None:
    method = METHODS[name]
    fields = {p.field for p in method_checks.problems(recipe(methods=[{"name": name}]), ORACLE)} - {"methods.0"}
    assert fields == {f"methods.0.inputs.{n}" for n in method_checks.wanted(method) if n in method.needed({})}


@pytest.mark.parametrize(
    ("stack", "field", "said"),
    [
        ([full("ilvr", detail=999)], "methods.0.knobs.detail", "give an integer from 1 to 64"),
        ([full("ilvr", detail="0:1, 1:4")], "methods.0.knobs.detail", "one number for the whole run"),
        ([full("composable", weight="0:1, 0.4")], "methods.0.knobs.weight", "is no strength"),
        ([full("composable", nonsense=1)], "methods.0.knobs.nonsense", "it has weight, against"),
        ([{"name": "ilvr", "inputs": {"reference": SHA, "more": "x"}}], "methods.0.inputs.more", "it has reference"),
        ([{"name": "ilvr", "inputs": {"reference": "me.png"}}], "methods.0.inputs.reference", "upload an image"),
        ([{"name": "multidiffusion", "inputs": {"regions": "red"}}], "methods.0.inputs.regions", "draw a box"),
        ([{"name": "ddnm", "inputs": {"measured": {"name": "magic"}}}], "methods.0.inputs.measured", "there are"),
        (
            [{"name": "ddnm", "inputs": {"measured": {"name": "super_resolution", "parameters": {"factor": 7}}}}],
            "methods.0.inputs.measured",
            "a factor that divides both",
        ),
        ([{"name": "ddnm", "inputs": {"measured": {"name": "inpainting"}}}], "methods.0.inputs.measured", "draw one"),
        ([{"name": "multidiffusion", "inputs": {"regions": [SILENT]}}], "methods.0.inputs.regions", "box 1 has no"),
        ([full("ilvr"), full("composable"), full("ilvr")], "methods.2", "in the stack twice"),
        ([full("ddnm"), full("ddrm")], "methods.1", "Mute one of them"),
        ([{"name": "cfg"}], "methods.0", "CFG Scale"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(stack: list[Any], field: str, said: str) -> None:
    found = {p.field: p.message for p in reversed(method_checks.problems(recipe(methods=stack), ORACLE))}
    assert said in found[field]


@pytest.mark.parametrize(
    ("knobs", "fields"),
    [
        ({"stride": 64}, {"stride"}), ({"window": 17}, {"window"}), ({"window": 3}, {"window"}),
        ({"stride": 16}, set()), ({"window": 16, "stride": 16}, set()),
    ],
)  # fmt: skip
def test_windows_that_leave_gaps_or_do_not_fit_are_refused(knobs: dict[str, int], fields: set[str]) -> None:
    wide = recipe(backbone="still-life", width=384, height=128, methods=[{"name": "panorama", "knobs": knobs}])
    found = {p.field: p.message for p in method_checks.problems(wide, outline("still-life"))}
    assert found.keys() == {f"methods.0.knobs.{name}" for name in fields}
    assert all("Give " in words for words in found.values())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"left": 0.5, "top": 0, "right": 0.2, "bottom": 1}], "right edge beyond"),
        ([{"left": -1, "top": 0, "right": 0.2, "bottom": 1}], "left"),
        ({"name": "jpeg", "sigma_y": -1}, "sigma_y"),
        (3, "tag"),
    ],
)
def test_what_cannot_be_at_all_is_refused_with_the_recipe(value: Any, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.make(methods=[{"name": "multidiffusion", "inputs": {"regions": value}}])
    (problem,) = caught.value.problems
    assert problem.field == "methods.0.inputs.regions" and said in problem.message


def test_images_are_cut_to_the_size_of_the_run_and_masks_stay_black_and_white() -> None:
    wide = Image.fromarray(np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2))  # a ramp
    cut = method_checks.tensor(wide, (64, 64))
    assert cut.shape == (1, 3, 64, 64) and 45 < float(cut.min() * 255) < 55 and 145 < float(cut.max() * 255) < 155
    assert set(method_checks.mask_tensor(MASK.resize((50, 50), 0), (64, 64)).unique().tolist()) == {0.0, 1.0}


FITTED_USES = (
    Use(name="ilvr", inputs={"reference": "WIDE"}, fit={"reference": "pad"}),
    Use(name="repaint", inputs={"known": "WIDE", "mask": "MARK"}, fit={"known": "stretch"}),
    Use(name="ddnm", inputs={"measured": {"name": "super_resolution", "image": "WIDE"}}, fit={"measured": "pad"}),
)


@pytest.mark.parametrize("use", FITTED_USES, ids=lambda use: use.name)
def test_an_image_is_fitted_as_its_method_says_and_the_mask_with_it(use: Use) -> None:
    """What arrives is what would arrive had the image been fitted before; the choice is kept in the png."""
    pixels = np.random.default_rng(5).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    wide, mark = Image.fromarray(pixels), Image.fromarray(np.where(pixels > 250, 255, 0).astype(np.uint8))
    (fit,), size = use.fit.values(), (64, 64)
    ready = [fitted(wide, size, fit), fitted_mask(mark, size, wide.size, fit).convert("RGB")]
    images = {content_hash(one): one for one in (wide, mark, *ready)}
    before, after = (
        Use.model_validate_json(
            use.model_copy(update={"fit": how}).model_dump_json()
            .replace("WIDE", content_hash(image)).replace("MARK", content_hash(mask))
        )
        for image, mask, how in ((wide, mark, use.fit), (*ready, {}))
    )  # fmt: skip
    whole = recipe(methods=[before])
    assert png_metadata.read(png_metadata.write(whole)).recipe == whole and not method_checks.problems(whole, ORACLE)
    (_, got), (_, expected) = (
        method_checks.used(0, one, recipe(methods=[one]), ORACLE, images) for one in (before, after)
    )
    for name, value in expected.items():
        for one, other in ((getattr(value, "y", value), getattr(got[name], "y", got[name])),):
            assert torch.equal(one, other), name


def test_the_edge_of_a_mask_is_kept_and_arrives_as_the_page_shows_it() -> None:
    edge = {"grow": 3, "feather": 5.0}
    use = Use.model_validate({**full("repaint"), "mask_edges": {"mask": edge}})
    whole = recipe(methods=[use])
    assert png_metadata.read(png_metadata.write(whole)).recipe == whole and not method_checks.problems(whole, ORACLE)
    _, values = method_checks.used(0, use, whole, ORACLE, IMAGES)
    shown = with_edge(fitted_mask(MASK, (64, 64)), 3, 5.0)
    expected = np.asarray(shown, np.float32).reshape(8, 8, 8, 8).mean((1, 3)) / 255
    assert np.allclose(values["mask"][0, 0], expected, atol=1e-6) and 0 < expected.mean() < 1
    for wrong in ({"grow": 99}, {"feather": -1}, {"blur": 3}):
        with pytest.raises(RecipeError):
            recipe(methods=[{**full("repaint"), "mask_edges": {"mask": wrong}}])
    words = method_checks.problems(recipe(methods=[{**full("ilvr"), "mask_edges": {"detail": edge}}]), ORACLE)
    assert [one.field for one in words] == ["methods.0.inputs.detail"]


def test_cropping_leaves_a_recipe_as_it_was_written_before() -> None:
    use = Use(name="ilvr", inputs={"reference": SHA}, fit={"reference": "crop"})
    plain = Use.model_validate({**full("repaint"), "mask_edges": {"mask": {"grow": 0, "feather": 0}}})
    assert "mask_edges" not in plain.model_dump() and "fit" not in use.model_dump()
    assert "fit" not in recipe(methods=[use]).to_json()
    words = method_checks.problems(recipe(methods=[{**full("ilvr"), "fit": {"detail": "pad"}}]), ORACLE)
    assert [one.field for one in words] == ["methods.0.inputs.detail"] and "no image 'detail'" in words[0].message


def test_every_input_arrives_as_its_kind() -> None:
    use = Use.model_validate(full("diffedit"))
    _, values = method_checks.used(0, use, recipe(methods=[full("diffedit")]), ORACLE, IMAGES)
    assert values["known"].shape == (1, 3, 8, 8) and values["mask"].dtype == torch.bool
    assert values["mask"][0, 0, :4].all() and not values["mask"][0, 0, 4:].any()
    assert torch.equal(values["source"]["text"], ORACLE.encode_prompt(["green"])["text"])
    lost = {"name": "inpainting", "image": SHA, "parameters": {"mask": MASKED}, "sigma_y": 0.1, "seed": 3}
    use = Use.model_validate({"name": "ddnm", "inputs": {"measured": lost}})
    _, values = method_checks.used(0, use, recipe(methods=[use]), ORACLE, IMAGES)
    assert values["measured"].sigma_y == 0.1 and not values["measured"].y[0, :, :4].any()


def test_what_only_shows_when_it_is_composed_is_said_at_its_card() -> None:
    asked = {"name": "classifier_guidance", "inputs": {"asked": "zebra"}}
    with pytest.raises(RecipeError, match=r"Classifier guidance cannot run: .*zebra") as caught:
        plan(recipe(methods=[full("ilvr"), asked]), ORACLE, Encoder(ORACLE), IMAGES)
    assert caught.value.problems[0].field == "methods.1"


def test_a_run_that_a_method_stops_says_why_and_no_more() -> None:
    words, field = in_words(ValueError("the prompt does not say 'zebra'"), recipe(), 0)
    assert (words, field) == ("Stopped at step 1 of 8: the prompt does not say 'zebra'.", None)
    assert "(KeyError)" in in_words(KeyError("x"), recipe(), 0)[0]


def test_hashes_are_those_of_images_only() -> None:
    use = Use(
        name="x",
        inputs={"a": SHA, "b": "words", "c": (SHA, MASKED), "d": (BoxValue(left=0, top=0, right=1, bottom=1),),
                "e": DegradationValue(name="inpainting", image=SHA, parameters={"mask": MASKED, "factor": 2})},
    )  # fmt: skip
    assert list(use.hashes()) == [SHA, SHA, MASKED, SHA, MASKED]


Start = Callable[..., Engine]


def test_an_image_that_is_not_here_is_asked_for_at_its_field(engines: Start) -> None:
    engine = engines()
    with pytest.raises(RunError, match="Give it again") as caught:
        engine.submit(recipe(methods=[full("ilvr")])).result()
    assert caught.value.field == "methods.0.inputs.reference"
    assert engine.submit(recipe(methods=[full("ilvr")]), IMAGES).result().formula.startswith("ilvr(euler)")


def test_without_guidance_the_negative_prompt_is_still_at_hand(engines: Start) -> None:
    """Blendings measure against it; an empty prompt is not taken for it."""
    engine = engines()
    also = [{"name": "composable", "inputs": {"also": "green"}}]
    plain, added = (engine.submit(recipe(prompt="", cfg_scale=1, methods=m)).result() for m in ([], also))
    assert added.formula == "euler over composable(ask)"
    assert not np.array_equal(plain.images[0], added.images[0])


# ---- attention maps -------------------------------------------------------------------------------------------------


class PerceptionModel:
    """The oracle with words, and an attention that looks to the left for the first and to the right for the second."""

    offers = frozenset({"attention.self", "attention.cross", "features"})

    def __init__(self) -> None:
        self.asked: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(ORACLE, name)

    def encode_prompt(self, texts: Any) -> dict[str, torch.Tensor]:
        return ORACLE.encode_prompt(texts) | {"tokens": torch.tensor([[7, 8, 9]] * len(texts))}

    def words(self, tokens: torch.Tensor) -> list[tuple[str, list[int]]]:
        return [("red", [0]), ("disc", [1, 2])]

    def denoise(self, ask: Any) -> torch.Tensor:
        if ask.edit is not None:
            self.asked.append(float(ask.sigma[0]))
            k = torch.eye(3)[None, None] * 20
            left = torch.arange(16) % 4 < 2
            q = torch.where(left[:, None], torch.tensor([1.0, 0, 0]), torch.tensor([0, 0.5, 0.5]))[None, None]
            out = ask.edit.attend(
                Site("name", "cross", "up", 0, 1, 4, 4), q, k, k, lambda q, k, v: v
            )
            assert out is k
        return ORACLE.denoise(ask)


def test_maps_come_from_the_same_run_once_a_step(engines: Start) -> None:
    reader, look = PerceptionModel(), AttentionRecorder()
    engine = engines(reader)
    plain = engine.submit(recipe(steps=5)).result()
    again = engine.submit(recipe(steps=5), watch=look).result()
    assert np.array_equal(plain.images[0], again.images[0]) and plain.nfe == again.nfe
    assert look.words == ["red", "disc"] and len(look.maps) == len(reader.asked) == 5
    assert look.steps[-1] == 0 and reader.asked[-1] == pytest.approx(float(ORACLE.sigmas[0]))
    red, disc = look.maps[0]
    assert red[:, :4].mean() > 0.9 > 0.1 > red[:, 4:].mean() and disc[:, 4:].mean() > 0.9
    sheet = look.sheet()
    assert sheet.shape == (2 * 8, 5 * 8) and sheet[:8, :2].min() == 255


def test_a_network_without_words_says_so(engines: Start) -> None:
    with pytest.raises(RunError, match="no attention to words"):
        engines().submit(recipe(), watch=AttentionRecorder()).result()


# ---- where masks lie -----------------------------------------------------------------------------------------------

BAND = Image.new("L", (64, 64))
BAND.paste(255, (0, 0, 64, 16))  # along the top
BAND = BAND.convert("RGB")
SQUARE, WIDE = Image.new("RGB", (64, 64), "teal"), Image.new("RGB", (128, 64), "teal")


@pytest.mark.parametrize("size", [(128, 64), (64, 128), (64, 64), (192, 64), (48, 64)])
@pytest.mark.parametrize("kind", ["mask", "operator"])
def test_a_mask_lies_over_the_frame_as_the_page_shows_it_at_every_size(kind, size):
    """Painted at another size than the image has: stretched over the frame, as boxes and points are."""
    images = {content_hash(one): one for one in (BAND, WIDE)}
    masked, image = content_hash(BAND), content_hash(WIDE)
    if kind == "mask":
        use = Use(name="repaint", inputs={"known": image, "mask": masked})
    else:
        measured = DegradationValue(name="inpainting", image=image, parameters={"mask": masked})
        use = Use(name="ddnm", inputs={"measured": measured})
    whole = recipe(methods=[use], width=size[0], height=size[1])
    _, values = method_checks.used(0, whole.methods[0], whole, ORACLE, images)
    if kind == "mask":
        rows = values["mask"][0, 0]
    else:
        operator = values["measured"].operator
        rows = operator.show(operator.A(torch.ones(1, *operator.shape)))[0, 0] < 0.9
    assert rows.shape == (size[1] // 8, size[0] // 8) and bool(rows[0].all()) and not bool(rows[-1].any())
    assert float(rows.double().mean()) == pytest.approx(0.25, abs=0.03)


def test_a_mask_as_large_as_its_image_is_cut_as_the_image_is():
    mark = Image.new("RGB", (64, 64))
    mark.paste((255, 255, 255), (24, 24, 40, 40))
    images = {content_hash(one): one for one in (mark, SQUARE)}
    use = Use(name="repaint", inputs={"known": content_hash(SQUARE), "mask": content_hash(mark)})
    whole = recipe(methods=[use], width=128, height=64)
    _, values = method_checks.used(0, whole.methods[0], whole, ORACLE, images)
    cut = method_checks.tensor(mark, (128, 64))[0, 0] > 0.5
    assert float(values["mask"].double().mean()) == pytest.approx(float(cut.double().mean()), abs=0.03)
    assert float(cut.double().mean()) > 0.1, "twice as high as it was, in both directions"
