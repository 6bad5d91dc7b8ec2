import pytest

from common.text import one_line, size_said


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


@pytest.mark.parametrize("size, words", [(0, "0 bytes"), (999, "999 bytes"), (166_376, "166 kB"), (1_400_000, "1.4 MB"),
                                         (36_400_000, "36 MB"), (2_100_000_000, "2.1 GB")])  # fmt: skip
def test_sizes_of_files_in_words(size, words):
    assert size_said(size) == words
