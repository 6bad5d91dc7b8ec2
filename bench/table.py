"""The table that every bench prints: a line as soon as a figure is known, progress meanwhile, figures flat in JSON.

with Report("bench.speed", __doc__) as report:                       # reads --quick and --json FILE
    for i in report.steps(range(20), "images"):                    # shows how far it is
        ...
    report.figure("picture_s", 0.93, "one image", "s", bar="at most 1.2")
    report.figure("binding", 91.2, "binding right", "%", chance=12.0, ceiling=99.4)
    report.skip("start_s", "cold start", "there is no app.py")
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from common.files import write_text

T = TypeVar("T")
LABEL, VALUE = 44, 11  # characters


class Report:
    """A bench's command line and its table; on leaving the `with` block the JSON file is written.

    options: adds the bench's own arguments to the parser; they are read from `args`.
    """

    def __init__(
        self,
        name: str,
        description: str | None = None,
        options: Callable[[argparse.ArgumentParser], object] | None = None,
        arguments: Sequence[str] | None = None,
    ):
        first = (description or "").strip().split("\n\n")[0]
        parser = argparse.ArgumentParser(prog=f"python -m {name}", description=first)
        parser.add_argument("--quick", action="store_true", help="fewer repetitions: under a minute")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat")
        if options is not None:
            options(parser)
        self.args = parser.parse_args(arguments)
        self.quick: bool = self.args.quick
        self.figures: dict[str, float | int | str | None] = {}
        self._began = time.perf_counter()
        self._shown = 0
        self._line(f"{name}  {first.splitlines()[0] if first else ''}")
        self._line(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}" + (", --quick" if self.quick else ""))
        self._line("-" * (LABEL + VALUE + 24))

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._line("-" * (LABEL + VALUE + 24))
        self._line(f"{'' if kind is None else 'broken off after '}{time.perf_counter() - self._began:.0f} s")
        if self.args.json is not None:
            write_text(self.args.json, json.dumps(self.figures, indent=1) + "\n")
            self._line(f"figures: {self.args.json}")

    def figure(self, key: str, value: float, label: str, unit: str = "", bar: str = "", **beside: float) -> None:
        """A figure, with its bar in words and others to read it by, which go into the JSON as `key_name`."""
        self.figures[key] = value
        notes = [f"{name} {_shown(other)}" for name, other in beside.items()] + ([bar] if bar else [])
        self.figures.update({f"{key}_{name}": other for name, other in beside.items()})
        self._line(f"{label:<{LABEL}}{_shown(value):>{VALUE}} {unit:<6} {'   '.join(notes)}".rstrip())

    def skip(self, key: str, label: str, why: str) -> None:
        """A figure that cannot be measured now; it is left out of the JSON."""
        self._line(f"{label:<{LABEL}}{'-':>{VALUE}}        {why}")

    def note(self, words: str) -> None:
        self._line(words)

    def steps(self, things: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """The things, while a line on the terminal says how far it is and how long it still takes."""
        n = total if total is not None else len(things) if hasattr(things, "__len__") else None  # type: ignore[arg-type]
        began = reported = time.perf_counter()
        for i, thing in enumerate(things):
            now = time.perf_counter()
            if sys.stderr.isatty() or now - reported > 15:
                left = f", {(now - began) / i * (n - i):.0f} s left" if i and n else ""
                self._progress(f"{label} {i + 1}{f' of {n}' if n else ''}{left}")
                reported = now
            yield thing
        self._progress("")

    def _progress(self, words: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + words.ljust(self._shown) + ("" if words else "\r"))
            sys.stderr.flush()
            self._shown = len(words)
        elif words:
            print(words, file=sys.stderr, flush=True)

    def _line(self, words: str) -> None:
        if self._shown:
            self._progress("")
        print(words, flush=True)


def _shown(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
