"""What Compare and Trajectory open with is whole, and of the form that the page reads today."""

import json
import shutil

from pydantic import TypeAdapter

from app import page_messages
from app.comparison.store import ComparisonStore
from app.forms import comparison_form, opening
from app.service.state import AppState
from app.storage.image_history import History

AGAIN = "run python -m tools.opening, and commit what it writes"


def test_the_stored_comparison_opens_finished_in_a_store_of_ones_own(tmp_path):
    state, store = AppState("exact", History(tmp_path)), ComparisonStore(tmp_path / "comparisons")
    assert opening.example_comparison(state, store) == opening.COMPARISON
    one = comparison_form.runner_of(state, store, opening.COMPARISON)
    assert one is not None and not one.resumable, AGAIN
    assert set(one.images) == set(one.comparison.hashes()), AGAIN
    update = json.dumps(comparison_form.update(state, store, one, -1), allow_nan=False)
    TypeAdapter(page_messages.WholeComparison).validate_json(update)
    assert json.loads(update)["summary"]["measures"], AGAIN
    store.vote(one.id, "a", "b")
    assert not list(opening.FOLDER.glob("*/votes.jsonl")), "what came with the app stays as it is"
    assert opening.example_comparison(state, store) == one.id and store.votes(one.id), "and is not laid over votes"


def test_without_the_stored_files_nothing_is_opened(tmp_path):
    state, store = AppState("exact", History(tmp_path)), ComparisonStore(tmp_path / "comparisons")
    assert opening.example_comparison(state, store, tmp_path / "none") == ""
    shutil.copytree(opening.FOLDER, tmp_path / "some")
    (tmp_path / "comparisons").write_text("a file where the folder should be")
    assert opening.example_comparison(state, store, tmp_path / "some") == ""


def test_the_stored_path_is_of_the_form_that_the_page_reads():
    stored = json.loads(opening.PATH.read_text(encoding="utf-8"))
    TypeAdapter(page_messages.Trajectories).validate_json(json.dumps(stored))
    assert stored["stored"] and len(stored["runs"]) > 1, AGAIN
    assert opening.PATH.stat().st_size < 600_000
