"""A comparison: its cells, what is kept of them, and that whatever stops it, it goes on with the missing ones."""

import errno
import itertools
import threading

import pytest
from PIL import Image

from app.comparison.runner import ComparisonRunner
from app.comparison.spec import MOST, Axis, Change, Comparison, key_of
from app.comparison.store import ComparisonStore, Result
from app.engine.engine import Engine
from app.schema.method_inputs import Use
from app.schema.recipe import Recipe, RecipeError

BASE = Recipe(backbone="exact", width=16, height=16, steps=3, cfg_scale=1.0)


def axis(name, *values):
    return Axis(name=name, values=tuple(Change(label=str(v), recipe={name: v}) for v in values))


def comparison(*axes):
    return Comparison(base=BASE, axes=axes)


@pytest.fixture(scope="module")
def engine():
    made = Engine("exact")
    assert made.wait(60)
    yield made
    made.close()


def measured(cell, recipe, image):
    return {"psnr": float(recipe.seed)}, "", "2 solids"


def runner(store, id, compared, engine, measure=measured):
    return ComparisonRunner(id, compared, store, lambda backbone: engine, {}, measure)


# ---- cells ---------------------------------------------------------------------------------------------------


def test_cells_are_the_product_of_the_axes_the_first_one_fastest():
    cells = comparison(axis("seed", 1, 2, 3), axis("steps", 2, 4)).cells()
    assert [(c.recipe.seed, c.recipe.steps) for c in cells] == [(s, n) for n, s in itertools.product((2, 4), (1, 2, 3))]
    assert [c.place for c in cells] == [(i, j) for j in range(2) for i in range(3)]


def test_a_change_sets_methods_and_knobs():
    stack = (Use(name="ilvr", knobs={"detail": 8}),)
    columns = Axis(name="method", values=(Change(label="none", methods=()), Change(label="ilvr", methods=stack)))
    knob = Axis(name="detail", values=tuple(Change(label=str(n), knobs={"ilvr.detail": n}) for n in (4, 16)))
    cells = comparison(columns, knob).cells()
    assert [[(u.name, u.knobs["detail"]) for u in c.recipe.methods] for c in cells] == [
        [], [("ilvr", 4)], [], [("ilvr", 16)],
    ]  # fmt: skip
    assert cells[0].key == cells[2].key, "where a knob says nothing the image is the same"


def test_an_axis_may_bring_other_images_and_another_truth():
    a, b = "a" * 64, "b" * 64
    base = BASE.but(methods=(Use(name="ilvr", inputs={"reference": a}),))
    scenes = Axis(name="scene", values=(Change(label="as it is"), Change(label="b", swap={a: b})))
    compared = Comparison(base=base, axes=(scenes,), ground_truth=a)
    first, second = compared.cells()
    assert [c.recipe.methods[0].inputs["reference"] for c in (first, second)] == [a, b]
    assert [c.task.ground_truth for c in (first, second)] == [a, b] and set(compared.hashes()) == {a, b}


def test_a_value_that_cannot_be_is_said_at_its_cell_and_the_others_stand():
    first, second = comparison(axis("steps", 3, 0)).cells()
    assert first.recipe is not None and second.recipe is None
    assert "Sampling steps: 0 is out of range" in second.problem


def test_too_many_cells_are_refused_in_words():
    many = tuple(axis("seed", *range(100)) for _ in range(2))
    with pytest.raises(RecipeError, match=f"at most {MOST}"):
        comparison(*many).cells()


def test_json_and_back():
    compared = comparison(axis("seed", 1, 2))
    assert Comparison.read(compared.model_dump_json()) == compared
    with pytest.raises(RecipeError, match="not a Nine Ways comparison"):
        Comparison.read("{}")


def test_a_key_is_of_the_image_and_not_of_the_machine():
    assert key_of(BASE) == key_of(BASE.model_copy(update={"revision": "abc", "versions": {"torch": "9"}}))
    assert key_of(BASE) != key_of(BASE.but(seed=1))


# ---- kept ----------------------------------------------------------------------------------------------------


def test_a_cell_without_its_image_is_missing(tmp_path):
    store = ComparisonStore(tmp_path)
    id, key = store.add(comparison(axis("seed", 1))), "0" * 32
    store.put(id, key, Image.new("RGB", (4, 4)), BASE, Result(1.0, 3, 3, 0, "euler"))
    assert store.result(id, key).nfe == 3
    store.image(id, key).unlink()
    assert store.result(id, key) is None


def test_half_a_file_is_missing_too_and_strange_names_open_nothing(tmp_path):
    store = ComparisonStore(tmp_path)
    id, key = store.add(comparison(axis("seed", 1))), "0" * 32
    store.put(id, key, Image.new("RGB", (4, 4)), BASE, Result(1.0, 3, 3, 0, "euler"))
    store.image(id, key).with_suffix(".json").write_text('{"seconds": 1')
    assert store.result(id, key) is None
    with pytest.raises(ValueError):
        store.image("../../etc", key)
    with pytest.raises(ValueError):
        store.image(id, "../x")


def test_votes_outlive_a_kill_in_the_middle_of_one(tmp_path):
    store = ComparisonStore(tmp_path)
    id = store.add(comparison(axis("seed", 1)))
    store.vote(id, "a", "b")
    with open(tmp_path / id / "votes.jsonl", "a") as file:
        file.write('["a", ')
    assert store.votes(id) == [("a", "b")]


def test_votes_that_both_are_as_good_or_neither_is_are_kept_apart(tmp_path):
    store = ComparisonStore(tmp_path)
    id = store.add(comparison(axis("seed", 1)))
    for verdict in ("better", "same", "neither", "same"):
        store.vote(id, "a", "b", verdict)
    assert [len(store.votes(id, one)) for one in ("better", "same", "neither")] == [1, 2, 1]
    assert store.all_votes(None, "same") == [("a", "b")] * 2 and store.all_votes() == [("a", "b")]


def test_renamed_copied_and_deleted(tmp_path):
    store = ComparisonStore(tmp_path)
    id, key = store.add(comparison(axis("seed", 1))), "0" * 32
    store.put(id, key, Image.new("RGB", (4, 4)), BASE, Result(1.0, 3, 3, 0, "euler"))
    store.vote(id, "a", "b")
    store.rename(id, "mine")
    other = store.copy(id, "a copy")
    assert store.get(id).title == "mine" and store.get(other).title == "a copy"
    assert store.result(other, key) == store.result(id, key) and store.votes(other) == []
    store.delete(id)
    assert store.get(id) is None and store.result(id, key) is None and store.result(other, key) is not None
    store.rename(id, "again")
    with pytest.raises(ValueError):
        store.delete("../../etc")
    assert store.copy(id, "x") is None and [one for one, _, _ in store.all()] == [other]


def test_images_are_counted_as_they_are_kept():
    """Cells of the same settings share one, and what cannot be has none."""
    columns = Axis(name="m", values=(Change(label="none", methods=()), Change(label="no method", methods=())))
    assert comparison(columns, axis("steps", 2, 3, 0)).pictures == 2


# ---- running -------------------------------------------------------------------------------------------------


def test_every_cell_is_made_once_measured_and_kept(tmp_path, engine):
    store, compared = ComparisonStore(tmp_path), comparison(axis("seed", 1, 2, 3), axis("steps", 2, 3))
    one = runner(store, store.add(compared), compared, engine)
    one.start()
    one.join(60)
    assert one.count("done") == one.made == 6
    for cell in one.cells:
        state = one.states[cell.key]
        assert state.result.figures == {"psnr": float(cell.recipe.seed)} and state.result.nfe >= cell.recipe.steps
        assert store.result(one.id, cell.key).seen == "2 solids"
        assert Image.open(store.image(one.id, cell.key)).size == (16, 16)


def test_cancelled_restarted_and_resumed_it_is_as_undisturbed(tmp_path, engine):
    """A hundred cells, of which some cannot be; bytes equal, every cell made exactly once."""
    compared = comparison(axis("seed", *range(20)), axis("steps", 1, 2, 3, 4, 0))
    store = ComparisonStore(tmp_path / "a")
    whole = runner(store, store.add(compared), compared, engine)
    whole.start()
    whole.join(120)

    other = ComparisonStore(tmp_path / "b")
    id, made, enough = other.add(compared), [], threading.Event()

    def measure(cell, recipe, image):
        made.append((recipe.seed, recipe.steps))
        if len(made) == 25:
            enough.set()
        return {"psnr": float(recipe.seed)}, ""

    first = runner(other, id, compared, engine, measure)
    first.start()
    assert enough.wait(60)
    first.cancel()
    first.join(60)
    there = first.count("done")
    assert 25 <= there < 80 and first.count("failed") == 20
    second = runner(other, id, compared, engine, measure)  # as after a restart: from the disk alone
    assert second.count("done") == there
    second.start()
    second.join(120)
    assert second.made == 80 - there and sorted(made) == sorted(set(made)) and len(made) == 80
    for cell in whole.cells:
        if cell.recipe is not None:
            a, b = store.image(whole.id, cell.key), other.image(id, cell.key)
            assert a.read_bytes() == b.read_bytes()


def test_resumed_while_the_cancelled_run_still_ends_it_goes_on_whatever_the_page_that_was_left_does(tmp_path, engine):
    """A page that is left ends its own start only, however late that comes; nobody has to wait for it."""
    store, compared = ComparisonStore(tmp_path), comparison(axis("seed", *range(8)), axis("steps", 2))
    reached, go_on = threading.Event(), threading.Event()

    def measure(cell, recipe, image):
        reached.set()
        assert go_on.wait(60)
        return {}, ""

    one = runner(store, store.add(compared), compared, engine, measure)
    left = one.start()
    assert one.start() is None and not one.resumable  # another page joins in
    assert reached.wait(60)
    one.cancel()
    assert one.busy and one.resumable
    resumed = one.start()
    assert resumed is not None and not one.resumable
    one.cancel(left)
    go_on.set()
    one.join(60)
    assert one.count("done") == one.made == 8 and not one.resumable


def test_a_cell_that_fails_says_why_and_leaves_the_others(tmp_path, engine):
    store, compared = ComparisonStore(tmp_path), comparison(axis("steps", 2, 3, 4))

    def measure(cell, recipe, image):
        if recipe.steps == 3:
            raise RuntimeError("the judge is not at home")
        return {}, ""

    one = runner(store, store.add(compared), compared, engine, measure)
    one.start()
    one.join(60)
    assert [one.states[cell.key].status for cell in one.cells] == ["done", "failed", "done"]
    assert one.states[one.cells[1].key].reason == "the judge is not at home"
    one.start()  # tries it once more, and makes no other again
    one.join(60)
    assert one.made == 2


def test_a_full_disk_is_said_at_the_cell_and_nothing_half_is_kept(tmp_path, engine, monkeypatch):
    store, compared = ComparisonStore(tmp_path), comparison(axis("seed", 1, 2))
    one = runner(store, store.add(compared), compared, engine)
    put = store.put

    def full(id, key, *rest):
        if key == one.cells[0].key:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(id, key, *rest)

    monkeypatch.setattr(store, "put", full)
    one.start()
    one.join(60)
    assert [one.states[cell.key].status for cell in one.cells] == ["failed", "done"]
    assert "The disk is full" in one.states[one.cells[0].key].reason and one.missing == [one.cells[0]]


def test_a_method_that_the_backbone_lacks_fails_in_words(tmp_path, engine):
    stack = (Use(name="masactrl", inputs={"source_prompt": "red"}),)
    columns = Axis(name="method", values=(Change(label="none", methods=()), Change(label="x", methods=stack)))
    store, compared = ComparisonStore(tmp_path), comparison(columns)
    one = runner(store, store.add(compared), compared, engine)
    one.start()
    one.join(60)
    assert [one.states[cell.key].status for cell in one.cells] == ["done", "failed"]
    assert "attention" in one.states[one.cells[1].key].reason


def test_the_time_left_is_told_while_it_runs_and_not_after_it(tmp_path, engine):
    store, compared = ComparisonStore(tmp_path), comparison(axis("seed", *range(8)))
    seen = []

    def measure(cell, recipe, image):
        seen.append(one.seconds_left)
        return {}, ""

    one = runner(store, store.add(compared), compared, engine, measure)
    assert one.seconds_left is None
    one.start()
    one.join(60)
    assert any(left is not None and left >= 0 for left in seen) and one.seconds_left is None


def test_changes_tell_what_is_new_and_nothing_twice(tmp_path, engine):
    store, compared = ComparisonStore(tmp_path), comparison(axis("seed", 1, 2))
    one = runner(store, store.add(compared), compared, engine)
    assert set(one.changes()) == {cell.key for cell in one.cells}
    one.start()
    one.join(60)
    at = one.wait(0, 1)
    assert at > 0 and one.changes(at) == {}
