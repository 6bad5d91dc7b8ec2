"""The page of the geometry bench: its tables go where its text has a place for them, and the text has one for each."""

import re

import pytest

from bench import geometry_page as page


def test_a_table_replaces_what_stood_between_its_marks():
    text = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n"
    made = page.filled(page.filled(text, "one", "| 1 |"), "two", "| 2 |")
    assert made == "a\n<!-- table: one -->\n| 1 |\n<!-- end -->\nb\n<!-- table: two -->\n| 2 |\n<!-- end -->\n"
    assert page.filled(made, "one", "| 1 |") == made
    with pytest.raises(ValueError, match="no place"):
        page.filled(text, "three", "")


def test_the_page_has_its_places_and_its_plots():
    text = page.PAGE.read_text("utf-8")
    assert set(re.findall(r"<!-- table: (\w+) -->\n\|", text)) == {"paths", "solvers", "schedules", "amed"}
    plots = re.findall(r"\]\((images/geometry/\w+\.webp)\)", text)
    assert len(plots) == 6 and all((page.DOCS / plot).exists() for plot in plots)
