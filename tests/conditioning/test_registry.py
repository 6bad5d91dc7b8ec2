import inspect
from typing import Annotated

import pytest

import conditioning
from conditioning.clashes import clash, clashes, solver_clash, steps_by
from conditioning.curves import parse
from conditioning.inputs import prepare_input
from conditioning.registry import FAMILIES, METHODS, Choice, Image, Interval, Knob, Mask, Method, Start, find, method
from conditioning.traits import RULES, TRAITS
from samplers.flow import Sampler


@pytest.fixture(autouse=True)
def leave_the_registry_as_it_was():
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def declare(function, module="conditioning.sampling.correction.made_up", **fields):
    function.__module__ = module
    return method(**{"task": "inpainting", "paper": "2201.09865"} | fields)(function)


def made_up(
    sampler: Sampler,
    known: Image,
    mask: Mask | None = None,
    times: Annotated[int, Knob(1, 20, neutral=1, help="How often")] = 5,
    mode: Annotated[str, Choice(("hard", "soft"))] = "hard",
    sigmas: tuple[float, ...] = (),
):
    """A made-up method.

    It does nothing, and
    does it twice.

        x = x

    Further remarks.
    """
    return sampler


def test_a_declaration_is_read():
    assert declare(made_up, needs=("pixels",), traits={"replaces_steps": ("mode", "hard")}, rows=3) is made_up
    one = METHODS["made_up"]
    assert isinstance(one, Method) and one.function is made_up
    assert (one.name, one.kind, one.family.name, one.family.stage) == ("made_up", "sampler", "correction", "sampling")
    assert (one.title, one.summary, one.equation) == (
        "A made-up method",
        "It does nothing, and does it twice.",
        "x = x",
    )
    assert one.knobs["times"] == Knob(1, 20, neutral=1, help="How often", default=5, type=int)
    assert one.knobs["mode"] == Choice(("hard", "soft"), default="hard")
    assert {name: i.kind for name, i in one.inputs.items()} == {"known": "image", "mask": "mask"}
    assert one.optional == {"mask"} and one.run_arguments == {"sigmas"}
    assert (one.needs, one.nfe, one.rows) == (("pixels",), 1, 3)
    assert one.traits == {"replaces_steps": ("mode", "hard")}


def test_the_order_of_the_families_is_from_the_inside_out():
    order = ["attention", "blending", "guidance", "revision", "correction", "inversion"]
    assert sorted(order, key=lambda name: FAMILIES[name].order) == order
    assert {f.stage for f in FAMILIES.values()} == {"network", "sampling"} and len(FAMILIES) == 9
    assert all((family.summary.endswith(".") and "change" in family.summary) or family.stage == "network"
               for family in FAMILIES.values())  # fmt: skip


def test_an_option_tells_the_input_that_it_cannot_do_without():
    def by_mode(
        sampler,
        known: Image,
        mask: Mask | None = None,
        mode: Annotated[str, Choice(("hard", "soft", "none"), inputs={"hard": "mask"})] = "soft",
    ):
        """Title.

        Summary.

            x = x
        """
        return sampler

    declare(by_mode)
    one = METHODS["by_mode"]
    assert one.optional == {"mask"} and one.needed({}) == one.needed({"mode": "none"}) == ["known"]
    assert one.needed({"mode": "hard"}) == ["known", "mask"]


def wrong(**changes):
    def copy(sampler, times: Annotated[int, Knob(1, 20)] = 5):
        return sampler

    copy.__doc__, copy.__name__ = made_up.__doc__, "wrong"
    for name, value in changes.items():
        setattr(copy, name, value)
    return copy


def no_default(sampler, times: Annotated[int, Knob(1, 20)]): ...
def out_of_range(sampler, times: Annotated[int, Knob(1, 20)] = 21): ...
def no_option(sampler, mode: Annotated[str, Choice(("a", "b"))] = "c"): ...
def no_such_input(sampler, known: Image, mode: Annotated[str, Choice(("a", "b"), inputs={"a": "mask"})] = "a"): ...
def mistyped(sampler, sigmass: tuple[float, ...] = ()): ...
def idle_at_nothing(sampler, times: Annotated[int, Knob(1, 20, ignored_when=("mode", "hard"))] = 5): ...
def no_kind(denoiser): ...
def a_network(backbone): ...


for _function in (no_default, out_of_range, no_option, no_such_input, mistyped, idle_at_nothing, no_kind, a_network):
    _function.__doc__ = made_up.__doc__


@pytest.mark.parametrize(
    "function, fields, why",
    [
        (wrong(__doc__=None), {}, "its docstring needs a title of one line, a paragraph, and the equation"),
        (wrong(__doc__="Title.\n\nNo equation."), {}, "its docstring needs"),
        (no_default, {}, "knob times has no default"),
        (out_of_range, {}, "times is 21: give an integer from 1 to 20"),
        (no_option, {}, "mode is 'c': give one of a, b"),
        (no_such_input, {}, "choice mode tells an input 'mask' of option 'a': give some of known, of options a, b"),
        (no_kind, {}, "its first parameter is denoiser: call it D or sampler"),
        (a_network, {}, "its first parameter is backbone: call it D or sampler in sampling/"),
        (mistyped, {}, "parameter sigmass is neither a knob nor an input, and comes from no run: that gives sigmas,"),
        (idle_at_nothing, {}, "knob times is ignored at a value of 'mode', and there is no such knob or input"),
        (wrong(), {"needs": ("magic",)}, "needs 'magic': give some of prompts"),
        (wrong(), {"traits": ("magic",)}, "has the trait 'magic': give some of replaces_steps"),
        (wrong(), {"traits": {"replaces_steps": ("mode", "hard")}}, "has the trait replaces_steps at a knob 'mode'"),
        (wrong(), {"traits": ("finds_start",)}, "give starts_at with the trait finds_start, and only with it"),
        (wrong(), {"starts_at": Start("strength")}, "give starts_at with the trait finds_start, and only with it"),
        (wrong(), {"intervals": (Interval("start"),)}, "declares something of a knob 'start': it has times"),
        (wrong(), {"no_effect_at": {"start": 0}}, "declares something of a knob 'start': it has times"),
        (wrong(), {"module": "elsewhere.wrong"}, "put it into a folder of conditioning/ with the name of its family"),
    ],
)
def test_a_broken_declaration_names_itself_and_fails(function, fields, why):
    with pytest.raises(ValueError, match=why) as error:
        declare(function, **fields)
    assert function.__name__ in str(error.value) and function.__name__ not in METHODS


def test_a_name_is_taken_once():
    declare(wrong())
    with pytest.raises(ValueError, match=r"method wrong is in .* and in"):
        declare(wrong())


def test_clashes_follow_from_traits_and_say_why_with_both_titles():
    by_mode = declare(made_up, traits={"replaces_steps": ("mode", "hard")}) and METHODS["made_up"]
    ddnm, source = METHODS["ddnm"], METHODS["masactrl"]
    why = "each of them makes the steps of the run, so that only one would act"
    assert clash(by_mode, ddnm) == clash(ddnm, by_mode) == why
    assert clash(by_mode, ddnm, {"mode": "soft"}) is None and clash(ddnm, by_mode, {}, {"mode": "soft"}) is None
    assert clash(by_mode, ddnm, {"times": 1}) is None  # neutral: it does nothing
    why = "DDNM would draw the source of MasaCtrl to its observation, too"
    assert clash(ddnm, source) == clash(source, ddnm) == why
    inverted = METHODS["ddim_inversion"]
    assert solver_clash(inverted, "euler") is None is solver_clash(inverted, "no such sampler")
    why = solver_clash(inverted, "ancestral")
    assert why == "fresh noise at every step erases the image that DDIM inversion has encoded"
    assert list(clashes([(inverted, {})], "ancestral")) == [(0, None, why)]
    assert list(clashes([(inverted, {}), (ddnm, {})], "ancestral")) == []  # the sampler is not called
    assert steps_by([(inverted, {}), (ddnm, {})]) is ddnm and steps_by([(inverted, {})]) is None


def test_every_rule_and_every_trait_is_of_some_method():
    held = {trait for one in METHODS.values() for trait in one.traits}
    assert held == set(TRAITS)
    known = {*TRAITS, "sampler", "adds_noise", "renoises"}
    assert {side for rule in RULES for side in (rule.a, rule.b)} <= known


def test_a_missing_method_is_named_with_its_neighbour():
    with pytest.raises(ValueError, match="no method 'cgf': did you mean cfg"):
        find("cgf")
    with pytest.raises(ValueError, match=r"no method 'zzz': there are .*cfg"):
        find("zzz")


@pytest.mark.parametrize("value", [0, 21, 2.5, float("nan")])
def test_a_knob_refuses_values_out_of_range(value):
    with pytest.raises(ValueError, match=r"times is .*: give an integer from 1 to 20"):
        Knob(1, 20, type=int).check("times", value)


@pytest.mark.parametrize("value", ["5", None, True, [1]])
def test_a_knob_refuses_other_types(value):
    with pytest.raises(TypeError, match=r"times is .*: give a number from 1 to 20"):
        Knob(1, 20).check("times", value)


def test_a_knob_takes_a_curve_where_it_says_so():
    Knob(0, 2, curve=True).check("scale", parse("0:1, 1:2"))
    with pytest.raises(ValueError, match=r"scale is 3.0"):
        Knob(0, 2, curve=True).check("scale", parse("0:1, 1:3"))
    with pytest.raises(TypeError, match="scale is the curve '0:1, 1:2': it takes one number"):
        Knob(0, 2).check("scale", parse("0:1, 1:2"))


def test_every_file_of_a_family_is_read():
    """What lies in a folder of a family is imported with the package."""
    import sys
    from pathlib import Path

    here = Path(conditioning.__file__).parent
    for file in [*here.glob("network/*/*.py"), *here.glob("sampling/*/*.py")]:
        parts = file.relative_to(here).with_suffix("").parts
        assert ".".join(["conditioning", *parts]).removesuffix(".__init__") in sys.modules


def test_methods_stay_plain_functions():
    for one in METHODS.values():
        assert inspect.isfunction(one.function) and one.name == one.function.__name__


def test_inputs_arrive_as_the_method_wants_them():
    import torch

    import backbones

    exact = backbones.load("exact")
    latent = exact.latent_shape(64, 64)
    image = torch.rand(1, 3, 64, 64)
    assert prepare_input("image", image, exact, 4, latent).shape == (4, 3, 8, 8)
    assert [one.shape for one in prepare_input("references", [image] * 2, exact, 1, latent)] == [(1, 3, 8, 8)] * 2
    painted = torch.zeros(1, 1, 64, 64)
    painted[..., 17, 9] = 1
    mask = prepare_input("mask", painted, exact, 2, latent)
    assert mask.shape == (2, 1, 8, 8) and mask.dtype == torch.bool
    assert mask[1, 0].nonzero().tolist() == [[2, 1]]
    painted[..., 0:8, 0:4] = 0.5  # feathered: a latent is painted by the mean of its pixels
    mask = prepare_input("mask", painted, exact, 1, latent)
    assert mask.dtype == torch.float32 and mask[0, 0, 0, 0] == 0.25 and 0 < mask[0, 0, 2, 1] < 0.02
    assert prepare_input("prompt", "red", exact, 3, latent)["text"].shape == (3, 1, 6)
    assert prepare_input("boxes", [1], exact, 3, latent) == [1]


@pytest.mark.parametrize("name, words", [
    ("ilvr", "mirrors the image"), ("dps", "clip x0"), ("repaint", "clip x0"), ("replacement", "before the step"),
    ("pigdm", "JPEG"), ("layout_guidance", "last loss"), ("multidiffusion", "run's own start"),
])  # fmt: skip
def test_what_the_authors_do_otherwise_is_read_from_the_docstring(name, words):
    differs = METHODS[name].differs
    assert words in differs and differs[0].isupper() and differs.endswith(".")
    assert differs not in METHODS[name].summary
