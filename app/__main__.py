"""The command line: no web server, and no network but for a model of the Hugging Face Hub that is not here yet.

    python -m app check RECIPE.json                        what is wrong, what is unused, its NFE: JSON
    python -m app run RECIPE.json --out DIR                images with their metadata; a JSON line for every event
    python -m app compare SPEC.json --out DIR [--resume]   a comparison; a JSON line for every cell
    python -m app methods                                  the catalogue: methods, operators, solvers, schedules: JSON

JSON is on stdout, progress for people on stderr. Exit code 0; 1 for a failed run; 2 for a refused recipe. Images in a
recipe are paths relative to its file. See docs/api.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from app.catalog import FILE

DONE, FAILED, REFUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command: its exit code. argparse exits with 2 for arguments that are none."""
    parser = argparse.ArgumentParser(
        "python -m app", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser("check", help="what is wrong with a recipe, and what its run will do")
    running = commands.add_parser("run", help="make the images of a recipe")
    comparing = commands.add_parser("compare", help="make a comparison")
    listing = commands.add_parser("methods", help="the catalogue of methods, solvers and schedules")
    for one, name in ((checking, "RECIPE.json"), (running, "RECIPE.json"), (comparing, "SPEC.json")):
        one.add_argument("file", type=Path, metavar=name)
    for one in (running, comparing):
        one.add_argument("--out", type=Path, required=True, metavar="DIR", help="made where it is missing")
    comparing.add_argument("--resume", action="store_true", help="make only what is missing in DIR")
    for one, command in ((checking, check), (running, run), (comparing, compare), (listing, methods)):
        one.set_defaults(command=command)
    chosen = parser.parse_args(arguments)
    try:
        return _refusing(chosen.command, chosen)
    except KeyboardInterrupt:
        _say("Stopped.")
        return FAILED
    except (RuntimeError, OSError) as error:  # a model that cannot be loaded, a full disk: in words
        _write({"event": "failed", "message": str(error), "field": None})
        _say(str(error))
        return FAILED


def _refusing(command: Callable[[argparse.Namespace], int], chosen: argparse.Namespace) -> int:
    """The exit code of a command; REFUSED, with everything that is wrong, where it raises RecipeError."""
    from app.schema.recipe import RecipeError

    try:
        return command(chosen)
    except RecipeError as error:
        from app.service.messages import refused

        _write(refused(error.problems))
        _say_all(error.problems)
        return REFUSED


def check(chosen: argparse.Namespace) -> int:
    """Prints what is known of the run of a recipe."""
    request = _recipe(chosen.file)
    from app.service.checking import check as checked

    known = checked(request)
    _write(known.as_json(), indent=1)
    _say_all(known.problems)
    return REFUSED if known.problems else DONE


def run(chosen: argparse.Namespace) -> int:
    """Makes the images of a recipe: DIR/<name of the recipe's file>-<seed>.png, over one of that name; with a variation
    <seed>-<variation seed>."""
    request = _recipe(chosen.file)
    from app.engine.events import Failed, Finished, Made, Preparing, Progress
    from app.forms.batches import number_of
    from app.service.messages import as_json
    from app.service.runs import Engines, Runs
    from app.storage.image_files import save_png

    engines = Engines()
    end = FAILED
    try:
        _fetch([request.recipe.backbone] if request.recipe else [])
        _say("Checking the recipe, loading the model")
        for event in Runs(engines).submit(request):
            message = as_json(event)
            match event:
                case Made(image=image, recipe=recipe):
                    path = chosen.out / f"{chosen.file.stem}-{number_of(recipe)}.png"
                    save_png(image, path)
                    message["file"] = str(path)
                    _say(str(path))
                case Preparing(words=words, step=step, steps=steps):
                    _say(f"{words}: {step} of {steps}")
                case Progress(step=step, steps=steps):
                    _say(f"Step {step} of {steps}")
                case Failed(reason=reason):
                    _say(reason)
                case Finished():
                    end = DONE
            _write(message)
    finally:
        engines.close()
    return end


def compare(chosen: argparse.Namespace) -> int:
    """Makes the cells of a comparison: DIR/<id>/cells/<key>.png, with their figures beside them."""
    from app.comparison.store import ComparisonStore
    from app.schema.recipe import RecipeError
    from app.service.reading import images_in, read_comparison
    from app.service.runs import Engines, Runs, follow, stored

    engines = Engines()
    runs = Runs(engines)
    try:
        comparison, images = read_comparison(_text(chosen.file), images_in(chosen.file.parent))
        _fetch(dict.fromkeys(one.recipe.backbone for one in comparison.cells() if one.recipe is not None))
        problems, notes = runs.comparison_problems(comparison, images)
        if problems:
            raise RecipeError(problems)
        for words in notes:
            _say(words)
        store = ComparisonStore(chosen.out)
        id, old = stored(store, comparison, chosen.resume)
        if chosen.resume and not old:
            _say(f"There is no such comparison in {chosen.out} yet: all of it is made.")
        end = FAILED
        for message in follow(runs.comparison(id, comparison, store, images)):
            if message["event"] == "cell":
                if message["status"] == "done":
                    message["file"] = str(store.image(id, message["key"]))
                _say(f"{message['label']}: {message.get('message') or message['status']}")
            else:
                message["folder"] = str(chosen.out / id)
                end = DONE if message["done"] == comparison.size else FAILED
                _say(f"{message['made']} made, {message['done']} of {comparison.size} there: {message['folder']}")
            _write(message)
        return end
    finally:
        engines.close()


def methods(chosen: argparse.Namespace) -> int:
    """Prints the catalogue as it lies in the program."""
    print(FILE.read_text(encoding="utf-8"), end="")
    return DONE


def _fetch(ids: Iterable[str]) -> None:
    """What models on the Hub lack here. Raises RecipeError in words."""
    from app.schema.recipe import Problem, RecipeError
    from backbones import fetch
    from backbones.hub import fetching

    said = -1

    def tell(done: int, total: int) -> None:
        nonlocal said
        part = 20 * done // max(total, 1)
        if part != said and done < total:
            said = part
            _say(fetching(done, total))

    for id in ids:
        try:
            fetch(id, tell)
        except OSError as error:
            raise RecipeError([Problem("backbone", f"Model: {error}.")]) from error


def _recipe(file: Path) -> Any:
    """The `Request` in a file; what is wrong stands in its problems."""
    from app.schema.recipe import RecipeError
    from app.service.reading import Request, images_in, read_recipe

    try:
        return read_recipe(_text(file), images_in(file.parent))
    except RecipeError as error:
        return Request(None, {}, tuple(error.problems))


def _text(file: Path) -> str:
    """What the file says; bytes that are no text make a text that is no JSON. Raises RecipeError."""
    from app.schema.recipe import Problem, RecipeError

    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RecipeError([Problem("file", f"{file} cannot be read: {error.strerror or error}.")]) from None


def _write(message: dict[str, Any], indent: int | None = None) -> None:
    print(json.dumps(message, indent=indent, ensure_ascii=False), flush=True)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _say_all(problems: Iterable[Any]) -> None:
    for one in problems:
        _say(one.message)


if __name__ == "__main__":
    sys.exit(main())
