"""Visits that go on in another page, and what only their own browser may claim."""

from app.service import visits as module
from app.service.state import AppState
from app.service.visits import Visits
from app.storage.image_history import History
from app.storage.signing_key import FILE, signing_key


def sign(words):
    return f"{sum(map(ord, words)) * 7919:024d}"[:24]


def test_a_page_is_a_visit_of_its_own_until_it_joins_one():
    visits = Visits(sign)
    first, second = visits.token("page 1"), visits.token("page 2")
    assert first != second and visits.known(first) and visits.known(second)
    visits.join("page 2", first, "tab 1")
    assert visits.token("page 2") == first and visits.place("page 2") == (first, "tab 1")
    visits.join("page 3", first, "tab 1")
    assert visits.place("page 3") == visits.place("page 2"), "a reload is at the same place"


def test_nobody_joins_with_a_token_that_was_not_given():
    visits = Visits(sign)
    own = visits.token("page")
    for token in ("", "x", "0" * 48, own[:-1] + "x", own[:24], "é" * 48, own + "0"):
        visits.join("page", token, "tab")
        assert visits.token("page") == own, token


def test_ids_count_only_with_their_signature_and_their_kind():
    visits = Visits(sign)
    pairs = [list(pair) for pair in visits.with_signatures("image", ["7", "5"])]
    assert visits.signed_ids("image", pairs + pairs) == ["7", "5"]
    assert visits.signed_ids("comparison", pairs) == []
    odd_pairs = ([7], [["7"]], [["7", "wrong"]], [["7", None]], [["8", pairs[0][1]]], [["7", "é"]])
    for odd in (None, "7", {"7": "x"}, *odd_pairs):
        assert visits.signed_ids("image", odd) == [], odd


def test_old_pages_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    visits = Visits(sign)
    token = visits.token("me")
    for n in range(3):
        visits.join(f"page {n}", token, "tab")
    assert visits.token("page 2") == token != visits.token("page 0")


def test_a_visit_outlives_the_server(tmp_path):
    before, after = (AppState("exact", History(tmp_path)) for _ in range(2))
    assert after.knows_visit(before.visit_token("page"))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    other = AppState("exact", History(tmp_path / "elsewhere"))
    assert not other.knows_visit(before.visit_token("page"))


def test_a_key_that_cannot_be_kept_or_is_damaged_is_one_for_this_process(tmp_path):
    (tmp_path / "file").write_text("")
    assert len(signing_key(tmp_path / "file")) == len(signing_key(tmp_path / "missing")) == 16
    (tmp_path / FILE).write_bytes(b"cut off")
    assert len(signing_key(tmp_path)) == 16 and signing_key(tmp_path) != signing_key(tmp_path)
