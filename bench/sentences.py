"""How much of what people write is in the image: a hundred sentences in their own words, written by hand.

Each sentence of bench/sentences.json comes with what it claims. A backbone makes one image of each, the evaluator reads
it, and every claim is right or wrong; no network is trained on these sentences (training/scene_arrays.py). `chance`:
the same images scored against the claims of other sentences. The parser of world/parsing.py is measured on them as
well: it was corrected by them, so its figure does not hold for other sentences.

    python -m bench.sentences --backbone FOLDER --json sentences.json
    python -m bench.sentences --parser             the parser alone: seconds
    python -m bench.sentences --images FOLDER    evaluates images made elsewhere: 0000.png, ... in that order
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backbones import load
from bench.fidelity import ROWS, SHIFTS, batches, load_images, sample, sampling_options, save_images
from bench.table import Report
from world.atoms import KINDS, Atom
from world.claims import Claim, Claims
from world.evaluator import WEIGHTS, SceneReading, check, read
from world.eye import NAMES, number_of_colours
from world.parsing import parse
from world.scene import COLOURS

FILE = Path(__file__).with_suffix(".json")
STEPS, SCALE = 10, 4.0  # the page's defaults, as are the sampler and the schedule below
LABELS = {
    "solid": "solids of the right shape there",
    "colour": "colours right, on a solid of that shape",
    "size": "sizes right, likewise",
    "material": "materials right, likewise",
    "count": "numbers of solids right",
    "relation": "relations right, both solids there",
    "place": "places in the image right",
    "between": "between two others",
    "absent": "absent what is not to be there",
    "ground": "ground right",
    "sky": "sky right",
}


@dataclass(frozen=True)
class Sentence:
    """kind: of phrasing, such as "terse", "negation"; claims: what it says, by hand."""

    kind: str
    text: str
    claims: Claims


def sentences() -> list[Sentence]:
    """All of them, in the file's order. Raises ValueError where a solid is described in other words than the world's
    names."""
    parsed = []
    for entry in json.loads(FILE.read_text(encoding="utf-8")):
        groups = {
            name: tuple(tuple(group) for group in entry.get(name, ()))
            for name in ("relations", "places", "between", "counts")
        }
        claims = Claims(
            solids=tuple(claim(text) for text in entry["solids"]),
            absent=tuple(claim(text) for text in entry.get("absent", ())),
            ground=entry.get("ground"),
            sky=entry.get("sky"),
            **groups,
        )
        parsed.append(Sentence(entry["kind"], entry["text"], claims))
    return parsed


def claim(text: str) -> Claim:
    """ "large red cube" -> the claim. Raises ValueError for a word that names no shape, colour, size or material."""
    values = {}
    for word in text.split():
        name = next((name for name, words in NAMES.items() if word in words), None)
        if name is None:
            raise ValueError(f"{word!r} of {text!r} names no shape, colour, size or material.")
        values[name] = word
    return Claim(**values)


def same(a: Claims, b: Claims) -> bool:
    """Whether two texts claim the same, in whatever order they name the solids."""
    n = len(a.solids)
    return len(b.solids) == n and any(_numbered(a, order) == _numbered(b, range(n)) for order in permutations(range(n)))


def _numbered(claims: Claims, order: Sequence[int]) -> tuple:
    """The claims with solid i as solid order[i]."""
    solids = dict(zip(order, claims.solids, strict=True))
    return (
        [solids[k] for k in sorted(solids)],
        claims.ground,
        claims.sky,
        {(order[a], relation, order[b]) for a, relation, b in claims.relations},
        {(order[a], place) for a, place in claims.places},
        {(order[a], frozenset((order[b], order[c]))) for a, b, c in claims.between},
        {frozenset(order[i] for i in group) for group in claims.counts},
        set(claims.absent),
    )


def can_be_evaluated(sentence: Sentence, colours: int) -> bool:
    """Whether an evaluator that knows the world's first so many colours knows all that the sentence names."""
    named = {claim.colour for claim in (*sentence.claims.solids, *sentence.claims.absent)} - {None}
    return named <= set(tuple(COLOURS)[:colours])


def sample_images(report: Report, items: Sequence[Sentence]) -> Tensor:
    """One image of each sentence, (B, 3, H, W) in [0, 1]."""
    args, samples = report.args, []
    backbone = load(args.backbone)
    numbered = list(enumerate(sentence.text for sentence in items))
    for part in report.steps(list(batches(numbered, ROWS)), f"batches of {ROWS} images"):
        texts = [text for _, text in part]
        samples.append(sample(backbone, texts, [args.seed + i for i, _ in part], args))
        if args.keep:
            save_images(args.keep, samples[-1], texts, part[0][0])
    return torch.cat(samples)


def check_sentences(readings: Sequence[SceneReading], items: Sequence[Sentence]) -> list[tuple[Atom, ...]]:
    """The atoms of each sentence, true or false of its image."""
    return [check(reading, sentence.claims).atoms for reading, sentence in zip(readings, items, strict=True)]


def accuracy(atoms: Sequence[Sequence[Atom]]) -> tuple[float, float]:
    """Percent of all atoms that are true, and of sentences of which every atom is."""
    every = [atom.true for sentence_atoms in atoms for atom in sentence_atoms]
    return 100 * float(np.mean(every)), 100 * float(
        np.mean([all(atom.true for atom in sentence_atoms) for sentence_atoms in atoms])
    )


def measure_parser(report: Report, items: Sequence[Sentence]) -> None:
    misread = [sentence.text for sentence in items if not same(parse(sentence.text), sentence.claims)]
    right = 100 * (1 - len(misread) / len(items))
    report.figure("parser", right, "sentences that the parser reads wholly", "%", of=len(items))
    for text in misread:
        report.note(f"  misread: {text}")


def measure_images(report: Report, items: Sequence[Sentence]) -> None:
    args, colours = report.args, number_of_colours(WEIGHTS)
    images = load_images(args.images, len(items)) if args.images else sample_images(report, items)
    evaluable = [i for i, sentence in enumerate(items) if can_be_evaluated(sentence, colours)]
    if len(evaluable) < len(items):
        report.note(
            f"left out: {len(items) - len(evaluable)} of {len(items)} sentences, with colours beyond the {colours} "
            "of the evaluator"
        )
    readings, some = read(images[evaluable]), [items[i] for i in evaluable]
    atoms = check_sentences(readings, some)
    shifts = {1 + (shift - 1) % max(len(some) - 1, 1) for shift in SHIFTS}  # never by all of them
    others = [accuracy(check_sentences(readings, [*some[shift:], *some[:shift]])) for shift in shifts]
    right, whole = accuracy(atoms)
    chance = np.mean(others, axis=0)
    count = sum(len(one) for one in atoms)
    report.figure("atoms", right, "claims right", "%", "at least 85", of=count, chance=float(chance[0]))
    report.figure("prompts", whole, "sentences with every claim right", "%", of=len(some), chance=float(chance[1]))
    for kind in KINDS:
        values = [atom.true for one in atoms for atom in one if atom.kind == kind]
        if values:
            report.figure(f"atoms_{kind}", 100 * float(np.mean(values)), LABELS[kind], "%", of=len(values))
        else:
            report.skip(f"atoms_{kind}", LABELS[kind], "no sentence says so")
    by_kind: dict[str, list[Sequence[Atom]]] = defaultdict(list)
    for one, its in zip(some, atoms, strict=True):
        by_kind[one.kind].append(its)
    for kind, its in by_kind.items():
        right, whole = accuracy(its)
        key = f"kind_{kind.replace(' ', '_')}"
        report.figure(key, right, f"claims right in sentences of kind {kind!r}", "%", prompts=whole, of=len(its))


def main(arguments: list[str] | None = None) -> None:
    with Report("bench.sentences", __doc__, _options, arguments) as report:
        args, items = report.args, sentences()
        measure_parser(report, items)
        if args.parser:
            return
        items = items[::12] if report.quick else items[: args.first]
        report.note(
            f"{args.images or args.backbone}: {len(items)} sentences, {args.sampler}, {args.schedule}, "
            f"{args.steps} steps, guidance {args.scale:g}"
        )
        measure_images(report, items)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parser", action="store_true", help="the parser alone, no images")
    parser.add_argument("--first", type=int, metavar="N", help="images of the first N sentences only")
    parser.add_argument("--backbone", default="still-life", help="a name, a folder, a Hub id")
    sampling_options(parser, "dpmpp_2m", "flow_shift", STEPS, SCALE)


if __name__ == "__main__":
    main()
