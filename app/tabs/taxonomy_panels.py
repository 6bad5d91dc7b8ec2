"""What the tab "Taxonomy" shows beside its tree: all nine, one family, or one of the survey's seven tasks.

`overview` knows the list alone; `panels` reads the registry and so imports torch when it is called, not before.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from app import catalog, theme
from app.catalog import survey
from app.forms.page_catalogue import catalogue
from app.tabs.diagrams import CHANGES, diagram
from app.tabs.tree import mark
from backbones.embedded import EMBEDDED

ROOT = Path(__file__).parents[2]
EXAMPLES = theme.ASSETS / "examples"  # <method>.webp, made by tools.example_images
TABLES = ROOT / "docs" / "tables"  # <task>.md, made by bench.methods --markdown
#: Where the family's own summary speaks to programmers.
SUMMARIES = {
    "training": "Training makes the network conditional from the start: it learns to read the condition with all else."
}
#: Networks that carry their condition from training on, for the family whose methods are networks.
#: What a filter of the entries says: not "here", which the methods above are as well.
FILTERS = {"here": "Run here", "covered": "Covered", "not": "Not here"}
TRAINED = {
    "still-life": (
        "Words, read through cross-attention in every block. One caption in ten was left out in training, so that the "
        "network also knows the image without words and can be guided."
    )
}


def overview() -> str:
    """Nine small diagrams, each a button, and what the dots mean."""
    cells = "".join(
        f'<li><button type="button" class="nw-t-cell" data-family="{key}" aria-pressed="false">{diagram(key)}'
        f"<span>{theme.glyph(key, 14)}<b>{look.name}</b></span>"
        f'<span class="nw-quiet">{CHANGES[key][1]}</span></button></li>'
        for key, look in theme.FAMILIES.items()
    )
    return (
        f'{_section("", "all")}><h2 id="nw-t-all" tabindex="-1">Nine ways in</h2>'
        "<p>A condition reaches an image through the network, before the run, or through the sampling, during "
        f'it. In grey what stays, in colour what each way changes.</p><ul class="nw-t-cells">{cells}</ul></section>'
    )


def waiting() -> str:
    """The overview, and a place for the rest until the methods are read."""
    return overview() + '<p class="nw-quiet nw-t-waiting" role="status" hidden>Reading the methods …</p>'


def panels() -> str:
    """The overview, a panel for each family, a panel for each task, one for models."""
    families = "".join(map(family, theme.FAMILIES))
    return overview() + families + "".join(map(task, survey.TASKS)) + models()


# one family ---------------------------------------------------------------------------------------------------------


def family(key: str) -> str:
    """Diagram, sentence, the methods that run here, and the survey's entries."""
    look = theme.FAMILIES[key]
    book = catalogue()
    summary = SUMMARIES.get(key) or next(one["summary"] for one in book["families"] if one["key"] == key)
    methods = [book["methods"][name] for one in book["families"] if one["key"] == key for name in one["methods"]]
    rows = [*([network(id) for id in _trained()] if key == "training" else []), *map(method, methods)]
    if rows:
        here = f'<div class="nw-ways">{"".join(rows)}</div>'
    else:
        here = (
            '<p class="nw-quiet">No method of this family runs here yet. Each will be one file in '
            f'<span class="nw-mono">conditioning/network/{key}</span>, and appear in this place by itself.</p>'
        )
    return (
        f'{_section(key, key)} style="--family:var(--nw-{key})" hidden>{_head(key, theme.glyph(key, 16) + look.name)}'
        f'<div class="nw-t-what">{diagram(key)}<p>{escape(summary)}</p></div>'
        f"<h3>Runs here</h3>{_related([one['name'] for one in methods], key)}{here}{_entries(key)}</section>"
    )


def _related(methods: list[str], key: str) -> str:
    """How the methods of a family and the list's entries that run here belong together: they are not as many."""
    run = [one for one in survey.of_family(key) if one.status == "here"]
    own = [_title(name) for name in methods if name not in {one.by for one in survey.entries() if one.status == "here"}]
    if not methods:
        return ""
    count = f"{len(methods)} method{'s' if len(methods) > 1 else ''}"
    listed = f"{len(run)} of the {len(survey.of_family(key))} entries below" if run else "None of the entries below"
    beside = f" Not in the survey's list: {escape(', '.join(own))}." if own else ""
    return f'<p class="nw-quiet">{count}. {listed} {"run" if len(run) != 1 else "runs"} here.{beside}</p>'


def _section(key: str, id: str) -> str:
    """The opening of a panel's tag, without its end."""
    return f'<section class="nw-t-panel" data-panel="{key}" aria-labelledby="nw-t-{id}"'


def _head(id: str, words: str) -> str:
    back = '<button type="button" class="nw-act" data-panel-of="">All nine</button>'
    return f'<div class="nw-t-head"><h2 id="nw-t-{id}" tabindex="-1">{words}</h2>{back}</div>'


def _try(what: str, name: str, title: str) -> str:
    """The button that goes to Create. what: data-try for a method, data-network for a network."""
    return f'<button type="button" class="nw-act nw-t-try" {what}="{name}" aria-label="Try it: {title}">Try it</button>'


def _trained() -> list[str]:
    """The networks of TRAINED whose weights are in this checkout."""
    return [id for id in TRAINED if EMBEDDED[id].present]


def method(one: dict[str, Any]) -> str:
    """A row that opens: equation, knobs, cost, paper, an example, "Try it"."""
    title, name = escape(one["title"]), one["name"]
    given = ", ".join(
        i["label"].lower() + (" (may be left out)" if i["optional"] else "") for i in one["inputs"]
    ) or "the prompt"  # fmt: skip
    facts = [("Given", given), ("Cost", one["cost"])]
    facts += [("Needs", escape(need)) for need in one["needs"]]
    facts += [("The authors", escape(one["differs"]))] if one["differs"] else []
    knobs = "".join(map(_knob, one["knobs"]))
    attempt = (
        '<p class="nw-quiet">Part of every run: set by CFG Scale.</p>'
        if one["fixed"]
        else _try("data-try", name, title)
    )
    knobs = f'<dl class="nw-t-knobs" aria-label="Knobs">{knobs}</dl>' if knobs else ""
    body = (
        f'<div class="nw-way-text"><p>{escape(one["summary"])}</p>'
        f'<dl class="nw-t-facts">{"".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in facts)}'
        f"<dt>Paper</dt><dd>{_link(one['link'], 'arXiv ' + one['paper'])}</dd></dl></div>"
        f"{_equation(one['equation'], title)}{knobs}"
    )
    return _row(name, title, one["task"], f"{_example(name, title, one['family'])}{attempt}", body)


def _equation(text: str, title: str) -> str:
    """In mono, a block a line: a line that is too long goes on below, indented; remarks stand near what they are of."""
    lines = (re.sub(r"(?<=\S) {3,}", "   ", line.replace("`", "")) for line in text.splitlines())
    blocks = "".join(f"<span>{escape(line)}\n</span>" for line in lines)
    return f'<pre class="nw-t-equation" role="region" aria-label="Equation of {title}">{blocks}</pre>'


def network(id: str) -> str:
    """A row for a network that was trained with its condition."""
    name = escape(EMBEDDED[id].name)
    attempt = _try("data-network", id, name)
    return _row(
        id, name, "text-to-image", f'{_example(id, name, "training")}{attempt}',
        f'<div class="nw-way-text"><p>{escape(TRAINED[id])}</p></div>',
    )  # fmt: skip


def _row(name: str, title: str, task: str, side: str, body: str) -> str:
    return (
        f'<details class="nw-way" data-way="{name}"><summary><b>{title}</b><span class="nw-quiet">{escape(task)}</span>'
        f'</summary><div class="nw-way-body"><div class="nw-way-side">{side}</div>{body}</div></details>'
    )


def _example(name: str, title: str, family: str) -> str:
    """What the method makes of its example, or the family's diagram until there is such an image."""
    if (EXAMPLES / f"{name}.webp").is_file():
        return (
            f'<img src="taxonomy/examples/{name}.webp" width="160" height="160" loading="lazy" '
            f'alt="What {title} makes of its example">'
        )
    return f'<div class="nw-way-blank" title="No image of it yet">{diagram(family)}</div>'


def _knob(knob: dict[str, Any]) -> str:
    if knob["type"] == "choice":
        values = f"{knob['default']}, of {' | '.join(knob['options'])}"
    else:
        values = f"{knob['default']:g}, from {knob['low']:g} to {knob['high']:g}"
        values += ", or a curve" if knob.get("curve") else ""
    return (
        f'<dt>{escape(knob["label"])}</dt><dd><span class="nw-mono">{escape(values)}</span>'
        f'<span class="nw-quiet">{escape(knob["help"])}</span></dd>'
    )


def _link(url: str, words: str) -> str:
    return f'<a href="{escape(url)}" target="_blank" rel="noreferrer noopener">{escape(words)}</a>'


# models -------------------------------------------------------------------------------------------------------------


def models() -> str:
    """Which methods run on which kinds of models: docs/models.md, for the page."""
    made = catalog.catalogue()["models"]
    groups = [(letter, escape(", ".join(names))) for letter, names in zip(ascii_uppercase, made["groups"])]
    key = "".join(f"<dt>{letter}</dt><dd>{names}</dd>" for letter, names in groups)
    heads = "".join(f'<th scope="col" abbr="{letter}" title="{names}">{letter}</th>' for letter, names in groups)
    lines = "".join(
        f'<tr style="--family:var(--nw-{book["family"]})"><th scope="row"><button type="button" class="nw-link" '
        f'data-way-of="{name}">{escape(book["title"])}</button></th>{"".join(map(_runs, made["methods"][name]))}</tr>'
        for name, book in catalogue()["methods"].items()
    )
    return (
        f'{_section("models", "models")} hidden>{_head("models", "Which models run what")}<p>Any checkpoint of these '
        "kinds can be opened in the place of Still Life. A method runs on all of them unless it needs something of the "
        "network: attention that it can change, an adapter made for it, an input of its own.</p>"
        f'<dl class="nw-t-facts nw-t-key">{key}</dl>'
        f'<div class="nw-t-scroll nw-t-models" tabindex="0" role="region" aria-label="Methods and models"><table>'
        f'<thead><tr><th scope="col">Method</th>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
        '<p class="nw-quiet">File: with a file beside the model, such as a ControlNet. No words: it acts by words, and '
        "such a network reads none. What cannot run is refused in words before anything is computed.</p></section>"
    )


def _runs(what: str) -> str:
    """A cell: runs, runs with a file, has nothing to act by, or is refused."""
    if what == "yes":
        return f'<td>{mark("here")}<span class="nw-hidden">runs</span></td>'
    return f"<td>{escape(what)}</td>" if what else '<td><span class="nw-hidden">does not run</span></td>'


# the survey's entries -----------------------------------------------------------------------------------------------


def _entries(key: str) -> str:
    """All entries of a family, with a filter and a search."""
    some = survey.of_family(key)
    found = survey.counts(some)
    buttons = (
        f'<button type="button" class="nw-act" data-show="" aria-pressed="true">All {len(some)}</button>'
        + "".join(
            f'<button type="button" class="nw-act" data-show="{status}" aria-pressed="false">{mark(status)}'
            f"{FILTERS[status]} {count}</button>"
            for status, count in found.items()
        )
    )
    groups: list[str] = []
    for group in dict.fromkeys(one.group for one in some):
        rows = "".join(_entry(one) for one in some if one.group == group)
        head = f"<h4>{group}</h4>" if group else ""
        groups.append(f'<div class="nw-t-group">{head}<ul>{rows}</ul></div>')
    return (
        f'<div class="nw-t-entries"><h3>In the survey</h3><div class="nw-t-filter"><div role="group" '
        f'aria-label="Which entries">{buttons}</div><input type="search" placeholder="Search" '
        f'aria-label="Search the entries of {theme.FAMILIES[key].name}"></div>'
        f'<p class="nw-quiet nw-t-found" role="status">{len(some)} entries</p>{"".join(groups)}</div>'
    )


def _entry(one: survey.SurveyEntry) -> str:
    words = " ".join((one.short, one.title, one.task, one.publication, one.by, one.why)).lower()
    by = ""
    if one.by:
        verb = "runs here as" if one.status == "here" else "covered by"
        by = f'{verb} <button type="button" class="nw-link" data-way-of="{one.by}">{escape(_title(one.by))}</button>'
    said = by or survey.STATUS[one.status][0]
    return (
        f'<li class="nw-t-entry" data-status="{one.status}" data-words="{escape(words)}">'
        f'<p>{mark(one.status)}<b>{escape(one.short)}</b><span class="nw-quiet">{said}</span></p>'
        f"<p>{escape(one.why)}</p>"
        f'<p class="nw-quiet">{_link(one.url, one.title)}, {escape(one.publication)}</p></li>'
    )


def _title(by: str) -> str:
    """The title of a method, or the name of a network."""
    known = catalogue()["methods"].get(by)
    return str(known["title"]) if known else EMBEDDED[by].name if by in EMBEDDED else by


# one task -----------------------------------------------------------------------------------------------------------


def methods_of(task: str) -> dict[str, list[str]]:
    """Family -> the registry's methods that do a task: they say so, or the list places what they are there."""
    covered = {one.by for one in survey.entries() if one.status == "here" and task in one.tasks}
    found: dict[str, list[str]] = {}
    for name, one in catalogue()["methods"].items():
        if task in survey.OF_REGISTRY.get(one["task"], ()) or name in covered:
            found.setdefault(one["family"], []).append(name)
    if task == "text-to-image":
        found.setdefault("training", []).extend(_trained())
    return found


def families_of(task: str) -> list[str]:
    """The families that do a task, by the list or by the registry."""
    own = methods_of(task)
    listed = {one.family for one in survey.entries() if task in one.tasks}
    return [key for key in theme.FAMILIES if key in listed or key in own]


def task(key: str) -> str:
    """Which families do it, with their entries and methods, and what was measured."""
    name, words = survey.TASKS[key]
    own, does = methods_of(key), families_of(key)
    rows = []
    for one in does:
        some = tuple(e for e in survey.of_family(one) if key in e.tasks)
        ways = "".join(
            f'<button type="button" class="nw-act" data-way-of="{way}">{escape(_title(way))}</button>'
            for way in own.get(one, ())
        )
        ways = f'<div class="nw-tools">{ways}</div>' if ways else '<p class="nw-quiet">Nothing of it runs here yet.</p>'
        to = f'<button type="button" class="nw-link nw-t-to" data-family="{one}" aria-pressed="false">'
        to += f"{theme.glyph(one, 14)}{theme.FAMILIES[one].name}</button>"
        rows.append(f'<li style="--family:var(--nw-{one})"><h4>{to}</h4>{ways}{_named(some)}</li>')
    any_task = [e for e in survey.entries() if survey.GENERAL in e.tasks]
    serve = ", ".join(
        f'<button type="button" class="nw-link" data-way-of="{e.by}">{escape(e.short)}</button>' if e.by else e.short
        for e in any_task
    )
    ways = f"{len(does)} of the nine ways can do it, {sum(map(bool, own.values()))} of them here."
    return (
        f'{_section(f"task:{key}", f"task-{key}")} data-does="{" ".join(does)}" hidden>'
        f"{_head(f'task-{key}', name)}"
        f'<p>{words} {ways}</p><ul class="nw-t-does">{"".join(rows)}</ul>'
        f'<p class="nw-quiet">Of no one task, and of use in any: {serve}.</p><h3>Measured</h3>{measured(key)}</section>'
    )


def _named(some: tuple[survey.SurveyEntry, ...]) -> str:
    """Short names, each with its dot."""
    if not some:
        return ""
    named = "".join(
        f"<li>{mark(status)}{escape(short)}<span class='nw-hidden'>, {survey.STATUS[status][0]}</span></li>"
        for short, status in dict.fromkeys((e.short, e.status) for e in some)  # Imagic is in both groups of its stage
    )
    return f'<ul class="nw-t-names">{named}</ul>'


def measured(key: str) -> str:
    """The tables of the task from docs/tables, or how to make them."""
    own = [bench for bench, of in survey.OF_BENCH.items() if of == key]
    if not own:
        return '<p class="nw-quiet">Not measured: no ground truth is rendered for this task yet.</p>'
    there = tables(TABLES)
    blocks, missing = [], []
    for bench in own:
        if bench in there:
            blocks.append("".join(_table(*one) for one in there[bench]))
        else:
            missing.append(bench)
    if missing:
        what = ", ".join(bench.replace("-", " ") for bench in missing)
        command = f"python -m bench.methods --task {missing[0]} --markdown docs/tables/{missing[0]}.md"
        blocks.append(
            f'<p class="nw-quiet">Not measured yet: {what}. A table comes from <code>{command}</code>'
            + (", and so for the others.</p>" if len(missing) > 1 else ".</p>")
        )
    return "".join(blocks)


def tables(folder: Path) -> dict[str, list[tuple[str, list[str], list[list[str]]]]]:
    """Task of bench.methods -> (heading, head, rows) of every table in the file of its name."""
    found: dict[str, list[tuple[str, list[str], list[list[str]]]]] = {}
    for bench in survey.OF_BENCH:
        try:
            text = (folder / f"{bench}.md").read_text(encoding="utf-8")
        except OSError:
            continue
        heading, rows = "", []
        for line in [*text.splitlines(), ""]:
            if line.startswith("|"):
                rows.append([cell.strip().strip("`") for cell in line.strip().strip("|").split("|")])
                continue
            if len(rows) > 2:  # a head, the line under it, what was measured
                found.setdefault(bench, []).append((heading, rows[0], rows[2:]))
            rows = []
            heading = line.lstrip("# ").strip() if line.startswith("#") else heading
    return found


def _table(heading: str, head: list[str], rows: list[list[str]]) -> str:
    def cell(words: str) -> str:
        mean, _, spread = words.partition(" ± ")
        return f"<td>{escape(mean)}" + (
            f' <span class="nw-quiet">± {escape(spread)}</span></td>' if spread else "</td>"
        )

    words = escape(heading)
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(map(cell, row[1:])) + "</tr>" for row in rows
    )
    return (
        f'<h4>{words}</h4><div class="nw-t-scroll" tabindex="0" role="region" aria-label="{words}"><table>'
        f"<thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
