"""The history: a PNG for every image, which carries its own recipe, and an SQLite index to find it by.

The files are the truth. The index is brought in line with them whenever it is opened, and built anew from them where
it is damaged, so a kill at any moment loses at most the image that was being written.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from PIL import Image

from app.schema import png_metadata
from app.schema.method_inputs import is_hash
from app.schema.recipe import Recipe, RecipeError
from app.storage.disk_errors import code, is_full
from app.storage.history_search import NO_TITLES, condition
from app.storage.image_files import content_hash, save_png
from backbones.names import name_of
from common.files import UNFINISHED

log = logging.getLogger(__name__)
T = TypeVar("T")
ENVIRONMENT = "NINE_WAYS_OUTPUT"
_STAMP = "%Y%m%d-%H%M%S-%f"
_STALE = 3600.0  # seconds after which a half-written file belongs to nobody
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}  # the connection is as good as before
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS pictures(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        file TEXT UNIQUE NOT NULL,   -- below the folder
        made REAL NOT NULL,          -- seconds since 1970
        seconds REAL,                -- that the run took
        words TEXT NOT NULL,         -- the prompt, casefolded, to search in
        recipe TEXT NOT NULL         -- JSON
    );
    CREATE INDEX IF NOT EXISTS newest ON pictures(made DESC, id DESC);
    CREATE TABLE IF NOT EXISTS favourites(file TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS deleted(  -- rows of pictures, while their files wait in DELETED
        id INTEGER PRIMARY KEY,
        file TEXT NOT NULL, made REAL NOT NULL, seconds REAL, words TEXT NOT NULL, recipe TEXT NOT NULL,
        at REAL NOT NULL             -- when it was deleted, seconds since 1970
    );
"""
_ROW = "id, file, made, seconds, words, recipe"
DELETED = "deleted"  # the folder of what can be brought back
KEPT_DELETED = 3600.0  # seconds


class HistoryError(RuntimeError):
    """Something could not be kept or found, in words."""


@dataclass(frozen=True)
class Entry:
    """An image that was kept. `made`: seconds since 1970; `seconds`: what its run took, where that is known."""

    id: int
    path: Path
    recipe: Recipe
    made: float
    seconds: float | None
    favourite: bool = False

    def image(self) -> Image.Image:
        """The image, with its `parameters`. Raises HistoryError where the file has gone."""
        try:
            image = Image.open(self.path)
            image.load()
        except OSError as error:
            raise HistoryError(f"The file of this image cannot be read: {error}.") from None
        return image


class History:
    """Images kept in a folder (default: environment variable NINE_WAYS_OUTPUT, else ./outputs). For any thread.

    Opening never fails: where the folder cannot be used, `note` says so in words and `add` raises HistoryError.
    """

    def __init__(self, folder: str | Path | None = None):
        self.folder = Path(folder or os.environ.get(ENVIRONMENT) or "outputs").absolute()
        self.note: str | None = None  # in words, after a repair or where there is no history
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        try:
            self._do(lambda db: None)
        except HistoryError as error:
            self.note = str(error)

    # ---- images --------------------------------------------------------------------------------------------------

    def add(self, image: Image.Image, recipe: Recipe, seconds: float | None = None) -> Entry:
        """Keeps an image with the recipe of it alone. Raises HistoryError in words; the image stays as it is."""
        made = time.time()
        moment = datetime.fromtimestamp(made, UTC)
        name = f"{moment.strftime(_STAMP)}-{recipe.seed}-{secrets.token_hex(2)}.png"
        file = f"pictures/{moment:%Y-%m}/{name}"
        try:
            try:
                save_png(image, self.folder / file, png_metadata.write(recipe))
            except OSError as error:
                if not is_full(error) or not self._empty_deleted():
                    raise
                save_png(image, self.folder / file, png_metadata.write(recipe))
        except OSError as error:
            raise HistoryError(f"{self._why(error)} The image is not saved: download it from the page.") from error
        try:
            self._do(lambda db: self._insert(db, file, made, recipe, seconds))
            self._do(self._forget_deleted)
            return next(self._entries("WHERE file = ?", (file,)))
        except (HistoryError, StopIteration) as error:
            raise HistoryError(f"{error} The image is saved as {file} and will be listed later.") from error

    def search(
        self, words: str = "", limit: int = 24, offset: int = 0,
        titles: Mapping[str, str] = NO_TITLES, among: Collection[int] | None = None, favourites: bool = False,
    ) -> list[Entry]:  # fmt: skip
        """The images that all these words say something of, newest first.

        A word is found as a part of the prompt, or of the name of a method, the sampler, the schedule or the model; a
        whole number as the seed, too; 128x128 as the size. "-word": the images that it says nothing of.
        titles: what these are called in words, by name or id; they are searched as well. among: the ids of the images
        that may be found, None for all of them. favourites: those alone.
        """
        where, values = condition(words, titles, among, favourites)
        order = "ORDER BY made DESC, id DESC LIMIT ? OFFSET ?"
        return list(self._entries(f"{where} {order}", (*values, max(limit, 0), max(offset, 0))))

    def count(
        self, words: str = "", titles: Mapping[str, str] = NO_TITLES, among: Collection[int] | None = None,
        favourites: bool = False,
    ) -> int:  # fmt: skip
        """How many `search` finds in all."""
        where, values = condition(words, titles, among, favourites)
        return self._do(lambda db: db.execute(f"SELECT count(*) FROM pictures {where}", values).fetchone()[0])

    def get(self, id: int) -> Entry | None:
        return next(self._entries("WHERE id = ?", (id,)), None)

    def favour(self, id: int, on: bool) -> bool:
        """Makes an image a favourite, or none; False where there is none of that id."""
        words = (
            "INSERT OR IGNORE INTO favourites SELECT file FROM pictures WHERE id = ?"
            if on
            else "DELETE FROM favourites WHERE file = (SELECT file FROM pictures WHERE id = ?)"
        )
        self._do(lambda db: db.execute(words, (id,)))
        return self.get(id) is not None

    def delete(self, id: int) -> bool:
        """Takes an image and its file out of the history, for `restore` to bring back within KEPT_DELETED seconds, but
        on a full disk for good; False where there is none of that id."""
        entry = self.get(id)
        if entry is None:
            return False
        aside = self._aside(id)

        def out(db: sqlite3.Connection) -> None:
            self._forget_deleted(db)
            db.execute(f"INSERT OR REPLACE INTO deleted SELECT {_ROW}, ? FROM pictures WHERE id = ?", (time.time(), id))
            db.execute("DELETE FROM pictures WHERE id = ?", (id,))
            aside.parent.mkdir(exist_ok=True)
            try:
                entry.path.rename(aside)
            except FileNotFoundError:  # somebody deleted the file: there is nothing to bring back
                db.execute("DELETE FROM deleted WHERE id = ?", (id,))

        try:
            self._do(out)
        except HistoryError as error:
            if not is_full(error.__cause__):
                if aside.exists() and not entry.path.exists():  # it was moved before the index failed
                    aside.rename(entry.path)
                raise HistoryError(f"{error} The image is still there.") from error
            entry.path.unlink(missing_ok=True)  # whoever deletes on a full disk wants the space
            self._do(lambda db: db.execute("DELETE FROM pictures WHERE id = ?", (id,)))
        return True

    def restore(self, id: int) -> Entry | None:
        """Brings back what `delete` took out, as it was; None where it is gone for good, or was never deleted."""

        def back(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT file FROM deleted WHERE id = ?", (id,)).fetchone()
            aside = self._aside(id)
            if row is None or not aside.exists():
                return
            path = self.folder / row[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            db.execute(f"INSERT OR IGNORE INTO pictures({_ROW}) SELECT {_ROW} FROM deleted WHERE id = ?", (id,))
            db.execute("DELETE FROM deleted WHERE id = ?", (id,))
            aside.rename(path)

        self._do(back)
        return self.get(id)

    def _aside(self, id: int) -> Path:
        return self.folder / DELETED / f"{id}.png"

    def _empty_deleted(self) -> bool:
        """What was deleted goes for good; whether that made room."""
        paths = list((self.folder / DELETED).glob("*.png"))
        for path in paths:
            path.unlink(missing_ok=True)
        return bool(paths)

    def _forget_deleted(self, db: sqlite3.Connection) -> None:
        """For good, what was deleted too long ago to be brought back."""
        since = time.time() - KEPT_DELETED
        kept = {id for (id,) in db.execute("SELECT id FROM deleted WHERE at >= ?", (since,))}
        for path in (self.folder / DELETED).glob("*.png"):
            if path.stem not in map(str, kept) and path.stat().st_ctime < since:
                path.unlink(missing_ok=True)
        db.execute("DELETE FROM deleted WHERE at < ?", (since,))
        db.execute(
            "DELETE FROM favourites WHERE file NOT IN (SELECT file FROM pictures UNION SELECT file FROM deleted)"
        )

    # ---- images that methods were given --------------------------------------------------------------------------

    def keep_input(self, image: Image.Image) -> str:
        """Keeps an image that a method is given, and gives the hash that stands for it in recipes."""
        name = content_hash(image)
        path = self.folder / "inputs" / f"{name}.png"
        if not path.exists():
            try:
                save_png(image.convert("RGB"), path)
            except OSError as error:
                raise HistoryError(f"{self._why(error)} The input image is not saved.") from error
        return name

    def input(self, sha256: str) -> Image.Image | None:
        """The image of that hash, None where it was never kept here."""
        return input_image(self.folder, sha256)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    # ---- the index -------------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Work on the index in one transaction, once more after a repair. Raises HistoryError in words."""
        with self._lock:
            for attempt in (1, 2):
                try:
                    db = self._db or self._open()
                    with db:
                        return work(db)
                except (sqlite3.Error, OSError) as error:
                    if isinstance(error, OSError) or code(error) not in _PASSING:
                        self.close()
                    if isinstance(error, sqlite3.Error) and code(error) in _DAMAGED and attempt == 1:
                        self._move_aside(error)
                        continue
                    if is_full(error) and attempt == 1 and self._empty_deleted():
                        continue
                    raise HistoryError(self._why(error)) from error
        raise AssertionError("unreachable")

    def _open(self) -> sqlite3.Connection:
        self.folder.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.folder / "history.sqlite3", timeout=10, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
            columns = {row[1] for row in db.execute("PRAGMA table_info(pictures)")}
            if state != "ok" or columns - {""} not in (set(), {"id", "file", "made", "seconds", "words", "recipe"}):
                error = sqlite3.DatabaseError(state)
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            db.executescript(_SCHEMA)
            fresh = db.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'pictures'").fetchone() is None
            if fresh and any((self.folder / "pictures").rglob("*.png")):  # an address of before names no other image
                db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('pictures', ?)", (int(time.time()),))
            try:
                with db:
                    self._align(db)
            except sqlite3.Error as error:
                if code(error) not in _PASSING:
                    raise
                log.warning("some images are not listed yet: %s", error)  # what is listed can still be read
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _align(self, db: sqlite3.Connection) -> None:
        """Lists what lies in the folder and is not listed, forgets what is gone, clears half-written files."""
        listed = {file for (file,) in db.execute("SELECT file FROM pictures")}
        there = set()
        for path in sorted((self.folder / "pictures").rglob("*.png")):
            if path.name.startswith(UNFINISHED):
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink(missing_ok=True)
                continue
            there.add(path.relative_to(self.folder).as_posix())
        for file in sorted(there - listed):
            try:
                with Image.open(self.folder / file) as image:
                    recipe = png_metadata.read(image.info.get("parameters")).recipe
            except Exception:
                log.info("%s is no image of ours", file)
                continue
            if recipe is not None:
                self._insert(db, file, self._moment(file), recipe, None)
        db.executemany("DELETE FROM pictures WHERE file = ?", [(file,) for file in listed - there])
        self._forget_deleted(db)

    def _moment(self, file: str) -> float:
        path = self.folder / file
        try:
            stamp = "-".join(path.name.split("-")[:3])
            return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return path.stat().st_mtime

    def _insert(self, db: sqlite3.Connection, file: str, made: float, recipe: Recipe, seconds: float | None) -> None:
        db.execute(
            "INSERT INTO pictures(file, made, seconds, words, recipe) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT(file) DO UPDATE SET seconds = excluded.seconds",  # another process may have listed it
            (file, made, seconds, recipe.prompt.casefold(), recipe.to_json()),
        )

    def _entries(self, rest: str, values: tuple[object, ...]) -> Iterator[Entry]:
        columns = "SELECT id, file, made, seconds, recipe, file IN (SELECT file FROM favourites) FROM pictures"
        rows = self._do(lambda db: db.execute(f"{columns} {rest}", values).fetchall())
        for id, file, made, seconds, text, favourite in rows:
            try:
                recipe: Recipe | None = Recipe.from_json(text)
            except RecipeError:  # of another version: the image's own text is read as well as possible
                recipe = png_metadata.read_json(text).recipe
            if recipe is not None:
                named = recipe.model_copy(update={"backbone": name_of(recipe.backbone)})  # a path, in rows of before
                yield Entry(id, self.folder / file, named, made, seconds, bool(favourite))

    # ---- trouble ---------------------------------------------------------------------------------------------------

    def _move_aside(self, error: Exception) -> None:
        aside = f"history.damaged-{datetime.now(UTC).strftime(_STAMP)}.sqlite3"
        for ending in ("", "-wal", "-shm"):
            path = self.folder / f"history.sqlite3{ending}"
            if path.exists():
                path.rename(self.folder / f"{aside}{ending}")
        self.note = (
            f"The index of the history was damaged ({error}). It was put aside as {aside} and built anew from the "
            "images themselves."
        )
        log.warning(self.note)

    def _why(self, error: Exception) -> str:
        if is_full(error):
            return f"The disk is full: {self._free()} are left for {self.folder}. Free some space."
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"The folder {self.folder} cannot be written. Set {ENVIRONMENT} to one that can."
        if isinstance(error, sqlite3.Error) and code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return (
                f"Another program holds the history in {self.folder}. Close it, or set {ENVIRONMENT} to another folder."
            )
        return f"The history in {self.folder} cannot be used: {error}."

    def _free(self) -> str:
        try:
            return f"{shutil.disk_usage(self.folder).free / 2**20:.1f} MB"
        except OSError:
            return "0 MB"


def input_image(folder: Path, sha256: str) -> Image.Image | None:
    """The image of that hash that a history in `folder` keeps for methods, None where it does not; makes no folder."""
    if not is_hash(sha256):
        return None
    try:
        image = Image.open(folder / "inputs" / f"{sha256}.png")
        image.load()
    except OSError:
        return None
    return image
