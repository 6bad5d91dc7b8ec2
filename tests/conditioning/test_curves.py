import pytest

from conditioning.curves import Curve, parse


@pytest.mark.parametrize(
    "at, value", [(0, 1), (0.2, 1), (0.4, 1), (0.45, 0.75), (0.5, 0.5), (0.6, 0), (0.9, 0), (1, 0)]
)
def test_lines_between_points(at, value):
    assert parse("0:1, 0.4:1, 0.6:0")(at) == pytest.approx(value)


def test_constant_outside_its_points():
    curve = parse("0.25:2,0.75:4")
    assert curve(0) == 2 and curve(1) == 4


def test_a_jump_takes_the_later_value():
    curve = parse("0:1, 0.5:1, 0.5:7, 1:7")
    assert curve(0.499) == 1 and curve(0.5) == 7 and curve(0.75) == 7


def test_a_number_is_a_number():
    assert parse("7.5") == 7.5 and parse(" 10 ") == 10.0


@pytest.mark.parametrize("text", ["0:1, 0.4:1, 0.6:0", "0:10, 0.5:10, 0.5:2.5", "0.1:-3", "0:1e-05, 1:100"])
def test_it_prints_as_it_is_written(text):
    assert str(parse(text)) == text and parse(str(parse(text))) == parse(text)


def test_points_may_be_given():
    assert Curve(((0.0, 1.0), (1.0, 3.0)))(0.5) == 2 and Curve(((0, 1),)).values == [1]


@pytest.mark.parametrize("text", ["", "a", "0:1, b", "0:1:2", "0:1,"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="is no strength: give a number, or a curve such as"):
        parse(text)


@pytest.mark.parametrize("text", ["0.5:1, 0.2:1", "-0.1:1", "0:1, 1.5:2", "0:nan", "0:inf"])
def test_points_out_of_order_or_place_are_refused(text):
    with pytest.raises(ValueError, match=r"curve '.*': give"):
        parse(text)
