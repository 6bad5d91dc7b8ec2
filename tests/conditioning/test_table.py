"""docs/methods.md is what the registry says."""

from pathlib import Path

from conditioning.registry import METHODS
from conditioning.table import first_sentence, markdown

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_table_of_the_docs_is_the_generated_one():
    assert DOCS.read_text() == markdown(), "make it anew: python -m conditioning.table > docs/methods.md"


def test_every_method_has_a_line_of_six_cells():
    lines = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert sorted(line.split("`")[1] for line in lines) == sorted(METHODS)
    assert all(line.replace("\\|", "").count("|") == 7 for line in lines)


def test_a_summary_is_its_first_sentence_without_citations():
    text = "After each step `x` is put right (Lugmayr et al. 2022, Alg. 1). Then more."
    assert first_sentence(text) == "After each step x is put right."
