"""The bench of methods: on a backbone that always predicts the ground truth, and each task's measure on renders."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import methods
from bench.tasks import TASKS, Case, Output, Row, base, editing, method_inputs, rows
from bench.tasks.base import render_images
from bench.tasks.editing import KINDS, _aligned, edit_succeeded
from bench.tasks.restoration import hole
from conditioning.registry import METHODS
from samplers.flow import ask, run, together
from world.captions import parse
from world.edits import edit
from world.evaluator import read
from world.render import render
from world.scene import draw

FEW = 2


class PerfectBackbone:
    """A backbone of pixels whose estimate of x0 is always the ground-truth image of the prompt."""

    id, revision, default_size, size_multiple = "painter", "0", 64, 8
    offers = frozenset({"pixels", "gradients"})
    sigmas = torch.logspace(-2, 2, 200)

    def __init__(self):
        self.cases = TASKS["super-resolution"].cases(self, FEW, 0.0)
        self.ground_truths = torch.cat([case.ground_truth for case in self.cases]) * 2 - 1

    def latent_shape(self, width, height):
        return 3, height, width

    def encode_prompt(self, texts):
        place = {case.prompt: i for i, case in enumerate(self.__dict__.get("cases", []))} | {"": 0}
        return {"text": torch.tensor([place[text] for text in texts])[:, None, None].float()}

    def denoise(self, one):
        return self.ground_truths[one.cond["text"][:, 0, 0].long()] + 0 * one.x

    def encode_image(self, pixels):
        return pixels * 2 - 1

    def decode(self, latents):
        return (latents / 2 + 0.5).clamp(0, 1)


@pytest.fixture(scope="module")
def painter():
    return PerfectBackbone()


def bench(monkeypatch, painter, tmp_path, *arguments):
    monkeypatch.setattr(methods, "load", lambda id: painter)
    file = tmp_path / "figures.json"
    methods.main([*arguments, "--backbone", "painter", "--count", str(FEW), "--steps", "4", "--json", str(file)])
    return json.loads(file.read_text())


def test_a_perfect_network_restores_and_its_cost_is_counted(monkeypatch, painter, tmp_path, capsys) -> None:
    figures = bench(monkeypatch, painter, tmp_path, "--task", "super-resolution", "--images", str(tmp_path),
                    "--markdown", str(tmp_path / "table.md"))  # fmt: skip
    for name, nfe, gradients in (("ddnm", 4, 0), ("ddrm", 4, 0), ("snips", 41, 0), ("pigdm", 4, 4), ("dps", 4, 4)):
        key = f"super-resolution_painter_{name}"
        assert figures[f"{key}_psnr"] > 60 and figures[f"{key}_max"] < 1e-3, name
        assert (figures[f"{key}_nfe"], figures[f"{key}_gradients"]) == (nfe, gradients), name
        assert (tmp_path / f"{key}.png").exists()
    nothing, bicubic, ceiling = (
        figures[f"super-resolution_painter_{name}_psnr"]
        for name in ("do_nothing", "bicubic", "ceiling_the_ground_truth_decoded")
    )
    assert 20 < nothing < bicubic < 40 < ceiling
    assert "PSNR" in capsys.readouterr().out
    table = (tmp_path / "table.md").read_text().splitlines()
    assert table[2].startswith("| | PSNR | SSIM") and len({line.count("|") for line in table[2:] if line}) == 1
    assert any(line.startswith("| ddrm | ") and line.endswith(" |") for line in table)


def test_what_cannot_run_is_said_and_left_out(monkeypatch, painter, tmp_path, capsys) -> None:
    """A new method appears by itself, one that the backbone or the case has not enough for with the reason."""
    method = replace(METHODS["ddnm"], name="newcomer", needs=("attention.self",))
    wanting = replace(METHODS["ddnm"], name="wanting", inputs={"hint": METHODS["diffedit"].inputs["source"]})
    monkeypatch.setitem(METHODS, "newcomer", method)
    monkeypatch.setitem(METHODS, "wanting", wanting)
    figures = bench(monkeypatch, painter, tmp_path, "--task", "colourise", "--only", "newcomer,wanting")
    out = capsys.readouterr().out
    assert "attention within the image" in out and "hint" in out
    assert not any("newcomer" in key or "wanting" in key for key in figures)
    assert figures["colourise_painter_do_nothing_rms"] == pytest.approx(0, abs=1e-5)


def test_every_method_that_is_for_a_task_is_in_one() -> None:
    known = {"restoration", "inpainting", "reference", "editing", "layout", "panorama", "visual-signal-to-image"}
    taken = {
        name
        for task in TASKS.values()
        for row in rows(task, PerfectBackbone.__new__(PerfectBackbone))
        for name, _ in row.stack
    }
    assert {one.name for one in METHODS.values() if one.task in known} <= taken


def test_inputs_come_by_name_then_by_kind_and_optional_ones_by_name() -> None:
    method = METHODS["diffedit"]
    case = Case(0, "", {"image": 1, "prompt": 2, "mask": 3})
    assert method_inputs(method, case) == {"known": 1, "source": 2, "mask": 3}
    assert method_inputs(method, replace(case, inputs={"image": 1, "source": 5, "prompt": 2})) == {
        "known": 1,
        "source": 5,
    }
    with pytest.raises(KeyError, match="known"):
        method_inputs(method, replace(case, inputs={"prompt": 2}))


def test_calls_are_those_of_the_image_alone() -> None:
    cost = methods.NetworkCost()

    def flow():
        x = yield from ask(torch.zeros(1, 1, 1, 1), 1.0, {}, tape=object())
        return (yield from together(ask(x, 0.5, {}), ask(x, 0.5, {})))

    run(methods.count_evaluations(flow(), cost), lambda one: one.x)
    assert (cost.evaluations, cost.with_gradient) == (2, 1)


def test_holes_are_about_a_sixth_of_the_image() -> None:
    shares = [hole(n, 64)["mask"].float().mean().item() for n in range(50)]
    assert 0.08 < min(shares) and max(shares) < 0.26 and 0.13 < np.mean(shares) < 0.19


def test_renders_after_an_edit_show_it_and_those_before_do_not() -> None:
    found = []
    for i, (n, scene) in enumerate(base.test_scenes(12, lambda scene: len(scene.solids) == 2)):
        try:
            found.append(edit(scene, np.random.default_rng(n), KINDS[i % len(KINDS)]))
        except ValueError:
            continue
    after = read(render([one.after for one in found], 128).rgb)
    before = read(render([one.before for one in found], 128).rgb)
    assert np.mean([edit_succeeded(one, reading) for one, reading in zip(found, after)]) > 0.8
    assert not any(edit_succeeded(one, reading) for one, reading in zip(found, before))


def test_what_is_outside_of_an_edit_of_its_own_image(monkeypatch, painter) -> None:
    """A network that draws its condition: with renders in place of its images."""

    def renders(scenes):
        return render(scenes, 128).rgb

    monkeypatch.setattr(
        editing, "own_images", lambda backbone, prompts, seeds: renders([draw("test", n) for n in seeds])
    )
    task = TASKS["edit-own"]
    cases = task.cases(painter, 8, 0.0)
    undone, done, others = (
        task.measure(cases, [Output(one) for one in renders(scenes).split(1)], painter)
        for scenes in (
            [case.target[0].before for case in cases],
            [case.target[0].after for case in cases],
            [draw("test", case.number + 5000) for case in cases],
        )
    )
    assert all(one == {"done": 0, "kept": 100} for one in undone)
    assert np.mean([one["done"] for one in done]) > 80
    assert np.mean([one["kept"] for one in done]) > 30 > 20 > np.mean([one["kept"] for one in others])
    rows = {row.label: row for row in task.method_rows(METHODS["prompt_to_prompt"], painter)}
    only = rows["prompt_to_prompt, only the solid"].change_cases(cases)
    assert all(text in case.inputs["prompt"] + case.prompt for case in only for text in case.inputs["only"].split(", "))


def test_what_gives_the_source_back_is_run_under_its_own_prompt_as_well(painter) -> None:
    lines, cases = TASKS["edit"].method_rows(METHODS["null_text"], painter), TASKS["edit"].cases(painter, 2, 0.0)
    assert [row.label for row in lines] == ["null_text", "null_text, nothing edited"]
    for before, after in zip(cases, lines[1].change_cases(cases)):
        assert after.prompt == before.inputs["prompt"] != before.prompt and after.inputs is before.inputs


def test_captions_of_an_edit_differ_in_what_was_edited() -> None:
    for n, scene in base.test_scenes(5):
        one = edit(scene, np.random.default_rng(n), "recolour")
        a, b = _aligned(n, one.before).split(), _aligned(n, one.after).split()
        assert len(a) == len(b) and sum(x != y for x, y in zip(a, b)) == 1
        claims = parse(" ".join(b))
        assert len(claims.solids) == len(scene.solids) and claims.ground == scene.ground and claims.sky == scene.sky


@pytest.mark.parametrize("name, figure", [("layout", "iou"), ("binding", "whole")])
def test_the_truth_scores_and_another_scene_does_not(painter, name, figure) -> None:
    task = TASKS[name]
    cases = task.cases(painter, 6, 0.0)
    made = [Output(case.ground_truth) for case in cases]
    own = [one[figure] for one in task.measure(cases, made, painter)]
    others = [one[figure] for one in task.measure(cases, made[1:] + made[:1], painter)]
    assert np.mean(own) > 70 > 25 > np.mean(others)


def test_boxes_name_what_is_in_them(painter) -> None:
    for case in TASKS["layout"].cases(painter, 3, 0.0):
        named = TASKS["layout"].case_adapters["layout_guidance"](case).inputs["boxes"]
        assert len(named) == len(case.target.solids) and all(box.text in case.prompt for box in named)
        assert all(0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1 for box in named)


def test_pasted_images_have_seams_and_one_image_has_none(painter) -> None:
    task = TASKS["panorama"]
    cases = task.cases(painter, 3, 0.0)
    pasted = [Output(task.baselines(painter)[0].generate(case)) for case in cases]
    wide = torch.nn.functional.interpolate(
        render_images([scene for _, scene in base.test_scenes(3)], 128), size=(64, 192)
    )
    whole = [Output(one) for one in wide.split(1)]
    seams, none = (task.measure(cases, made, painter) for made in (pasted, whole))
    assert min(one["thirds"] for one in seams) > 1.5
    assert np.mean([one["thirds"] for one in none]) < 1.3


def test_control_with_the_maps_of_others(painter) -> None:
    cases = TASKS["control"].cases(painter, 3, 0.0)
    lines = {row.label: row for row in TASKS["control"].method_rows(METHODS["controlnet"], painter)}
    assert len(lines) == 6
    own, other = (lines[f"controlnet, depth{whose}"].change_cases(cases) for whose in ("", ", of others"))
    assert [set(case.inputs) for case in own] == [{"depth"}] * 3
    assert all(torch.equal(a.inputs["depth"], b.target["depth"]) for a, b in zip(own, cases))
    assert torch.equal(other[1].inputs["depth"], cases[0].target["depth"])


def test_a_method_of_its_own_has_its_own_steps() -> None:
    parser = methods.argparse.Namespace(steps=0, hurry=1)
    task = TASKS["deblur"]
    assert methods.setting_of(Row("ddrm", [("ddrm", {})]), task, parser).steps == 20
    assert methods.setting_of(Row("plain"), task, parser).steps == task.steps
    parser.steps = 7
    assert methods.setting_of(Row("ddrm", [("ddrm", {})]), task, parser).steps == 7
    assert math.isclose(methods.setting_of(Row("plain"), task, parser).scale, 1.0)
