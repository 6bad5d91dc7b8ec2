"""The history: what was kept is found again."""

import sqlite3
import time
from pathlib import Path

import pytest
from PIL import Image

from app.schema.png_metadata import read, write
from app.storage.image_files import save_png
from app.storage.image_history import History, HistoryError
from tests.support.doubles import all_at_once, recipe


def image(shade: int = 100) -> Image.Image:
    return Image.new("RGB", (16, 8), (shade, 50, 50))


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    history = History(tmp_path)
    made = recipe(prompt='a Red sphere, "glossy" 100%', negative="blur", seed=9)
    entry = history.add(image(), made, seconds=1.5)
    assert (entry.recipe, entry.seconds) == (made, 1.5) and abs(entry.made - time.time()) < 5
    assert entry.path.is_relative_to(tmp_path) and "-9-" in entry.path.name
    assert entry.image().tobytes() == image().tobytes()
    assert read(entry.image().info["parameters"]).recipe == made
    assert history.get(entry.id) == entry and history.get(99) is None
    history.close()
    again = History(tmp_path)
    assert again.search() == [entry] and again.note is None


def test_search_by_words_newest_first_page_by_page(tmp_path: Path) -> None:
    history = History(tmp_path)
    for i in range(25):
        history.add(image(i), recipe(prompt=f"a {'RED' if i % 2 else 'blue'} Sphere Äpfel number{i}_", seed=i))
    assert [e.recipe.seed for e in history.search(limit=3)] == [24, 23, 22]
    assert [e.recipe.seed for e in history.search(limit=3, offset=3)] == [21, 20, 19]
    assert history.count() == 25 and history.count("red") == 12 and history.count("sphere RED äpfel") == 12
    assert [e.recipe.seed for e in history.search("number7_ red")] == [7]
    assert history.count("%") == 0 and history.count("r_d") == 0 and history.count("'; DROP TABLE pictures") == 0
    assert history.search(limit=-1) == [] and len(history.search(offset=-5)) == 24


def test_search_by_method_seed_and_model(tmp_path: Path) -> None:
    history = History(tmp_path)
    blended = [{"name": "blended_latent"}, {"name": "ilvr"}]
    for seed, more in ((7, {}), (70, {"methods": blended}), (71, {"backbone": "still-life", "prompt": "7 cubes"})):
        history.add(image(seed), recipe(**{"prompt": "a cone", "seed": seed} | more))

    def seeds(words: str, **more: object) -> list[int]:
        return [e.recipe.seed for e in history.search(words, **more)]  # type: ignore[arg-type]

    assert seeds("blended_latent") == seeds("ILVR cone") == seeds("blended ilvr") == [70]
    assert seeds("blended%latent") == []
    assert seeds("7") == [71, 7] and seeds("70") == [70] and seeds("1") == []  # a seed is meant as a whole
    assert seeds("still life") == [71] and seeds("exact") == [70, 7]
    assert seeds("-ilvr") == [71, 7] and seeds("cone -ilvr -7") == [] and seeds("-") == [71]
    titles = {"ilvr": "Low frequencies", "still-life": "Net of Cubes"}
    assert seeds("low frequencies", titles=titles) == [70] and seeds("net of", titles=titles) == [71]
    large = history.add(image(8), recipe(prompt="a cone", seed=2**64 - 7))
    assert seeds(str(2**64 - 7)) == [2**64 - 7] and seeds(str(2**64 - 8)) == []
    varied = history.add(image(8), recipe(prompt="a cone", seed=3, variation_seed=4711, variation_strength=0.2))
    assert seeds("4711") == seeds("3") == [3] and history.delete(varied.id)
    history.delete(large.id)
    one, two, _ = history.search()
    assert seeds("", among=[two.id]) == seeds("ilvr", among=[two.id]) == [70] and seeds("ilvr", among=[one.id]) == []
    assert seeds("", among=[]) == [] and history.count("cone", among=[one.id, two.id]) == 1
    assert history.count("low", titles) == 1 and history.count("low") == 0


def test_search_by_sampler_schedule_and_size_and_what_is_not_meant(tmp_path: Path) -> None:
    history = History(tmp_path)
    made = [{"sampler": "dpmpp_2m", "schedule": "karras"}, {"sampler": "ancestral", "width": 96}, {"sampler": "heun"}]
    for seed, fields in enumerate(made, 100):
        history.add(image(), recipe(prompt="a cone", seed=seed, **fields))
    titles = {"dpmpp_2m": "DPM++ 2M", "ancestral": "Euler a", "heun": "Heun"}

    def seeds(words: str) -> set[int]:
        return {e.recipe.seed for e in history.search(words, titles=titles)}

    assert seeds("dpmpp") == seeds("dpm++ 2m") == seeds("Karras") == {100} and seeds("euler") == {101}
    assert seeds("96x64") == seeds("96×64") == {101} and seeds("64x64") == {100, 102} and seeds("4x64") == set()
    assert seeds("2") == seeds("64") == set(), "a whole number is a seed, not a part of a name or a size"
    everything = {100, 101, 102}
    for word in ("heun", "euler", "96x64", "100", "cone", "karras", "nothing", "exact"):
        assert seeds(f"-{word}") == everything - seeds(word), word
    assert seeds("cone -heun -dpm++") == {101}


def test_a_deleted_image_comes_back_as_it_was(tmp_path: Path) -> None:
    history = History(tmp_path)
    entries = [history.add(image(i), recipe(seed=i), seconds=i) for i in range(3)]
    assert history.favour(entries[1].id, True)
    wanted = history.get(entries[1].id)
    assert history.delete(entries[1].id) and not history.delete(entries[1].id)
    assert not entries[1].path.exists() and history.count(favourites=True) == 0
    history.close()
    again = History(tmp_path)  # an undo outlives the process
    assert [e.recipe.seed for e in again.search()] == [2, 0]
    assert again.restore(entries[1].id) == again.get(entries[1].id) == wanted
    assert [e.recipe.seed for e in again.search()] == [2, 1, 0] and again.count(favourites=True) == 1
    assert again.get(entries[1].id).image().tobytes() == image(1).tobytes()  # type: ignore[union-attr]
    assert again.restore(99) is None and again.restore(entries[0].id) == entries[0]
    assert history.delete(entries[0].id) and history.add(image(), recipe(seed=9)).id not in {e.id for e in entries}


def test_what_was_deleted_long_ago_is_gone_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path)
    one, other = (history.add(image(), recipe(seed=i)) for i in range(2))
    history.favour(one.id, True)
    history.delete(one.id)
    other.path.unlink()
    assert history.delete(other.id) and history.restore(other.id) is None, "its file had gone before"
    assert len(list((tmp_path / "deleted").iterdir())) == 1
    monkeypatch.setattr("app.storage.image_history.KEPT_DELETED", -60.0)
    history.add(image(), recipe(seed=3))
    assert not list((tmp_path / "deleted").iterdir()) and history.restore(one.id) is None


def test_favourites(tmp_path: Path) -> None:
    history = History(tmp_path)
    one, two = (history.add(image(), recipe(seed=i, prompt=p)) for i, p in enumerate(("a cone", "a cube")))
    assert history.favour(one.id, True) and history.favour(one.id, True) and not history.favour(99, True)
    assert [(e.id, e.favourite) for e in history.search()] == [(two.id, False), (one.id, True)]
    assert [e.id for e in history.search(favourites=True)] == [one.id] and history.count("cube", favourites=True) == 0
    assert history.count(among=[two.id], favourites=True) == 0
    assert History(tmp_path).get(one.id).favourite  # type: ignore[union-attr]
    assert history.favour(one.id, False) and history.count(favourites=True) == 0


def test_the_files_are_the_truth(tmp_path: Path) -> None:
    history = History(tmp_path)
    entries = [history.add(image(i), recipe(seed=i)) for i in range(3)]
    entries[0].path.unlink()
    with pytest.raises(HistoryError, match="cannot be read"):
        entries[0].image()
    save_png(image(), tmp_path / "pictures" / "dropped in.png", write(recipe(seed=77)))
    save_png(image(), tmp_path / "pictures" / "no settings.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    half = tmp_path / "pictures" / ".part-1.png"
    half.write_bytes(b"half")
    assert {e.recipe.seed for e in History(tmp_path).search()} == {1, 2, 77} and half.exists()


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NINE_WAYS_OUTPUT", str(tmp_path / "there"))
    assert History().add(image(), recipe()).path.is_relative_to(tmp_path / "there")
    monkeypatch.delenv("NINE_WAYS_OUTPUT")
    monkeypatch.chdir(tmp_path)
    assert History().folder == tmp_path / "outputs"


def test_many_threads_and_two_processes_worth_of_connections(tmp_path: Path) -> None:
    both = [History(tmp_path), History(tmp_path)]
    results = all_at_once(16, lambda i: both[i % 2].add(image(i), recipe(seed=i)))
    assert not [r for r in results if isinstance(r, Exception)]
    assert both[0].count() == both[1].count() == History(tmp_path).count() == 16


def test_inputs_of_methods_are_kept_by_their_content(tmp_path: Path) -> None:
    history = History(tmp_path)
    name = history.keep_input(image())
    assert history.keep_input(image().convert("RGBA")) == name and history.keep_input(image(3)) != name
    kept = history.input(name)
    assert kept is not None and kept.tobytes() == image().tobytes()
    assert history.input("0" * 64) is None and history.input("../../etc/passwd") is None


def test_a_recipe_of_another_version_is_read_as_well_as_possible(tmp_path: Path) -> None:
    history = History(tmp_path)
    entry = history.add(image(), recipe(seed=4))
    history.close()
    with sqlite3.connect(tmp_path / "history.sqlite3") as db:
        db.execute('UPDATE pictures SET recipe = replace(recipe, \'"steps":8\', \'"steps":800,"moon":1\')')
    assert [(e.id, e.recipe.seed) for e in History(tmp_path).search()] == [(entry.id, 4)]
