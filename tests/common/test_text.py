import pytest

from common.text import one_line


@pytest.mark.parametrize(
    ("words", "most", "line"),
    [
        ("a red\n  cube ", 10, "a red cube"),  # exactly as long as may be
        ("a red cube", 9, "a red cu…"),
        ("a red cube", 7, "a red…"),  # no space before the dots
        ("", 5, ""),
    ],
)
def test_a_text_on_one_line_is_cut_with_dots_where_it_is_too_long(words, most, line):
    assert one_line(words, most) == line and len(line) <= most
