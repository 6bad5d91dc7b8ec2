"""A comparison as a page of its own: images, what the columns were given, ranks, a slider, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from app.comparison.comparison_json import summary
from app.comparison.export import figures, given_columns, grids, rows_of, said
from app.comparison.spec import Cell, Comparison
from app.comparison.store import ComparisonStore, Result
from app.comparison.task import CONDITIONS
from common.colours import light
from common.image_bytes import data_uri
from fidelity.measures import MEASURES

INK, QUIET, PAPER, MAT = light("ink", "quiet", "paper", "mat")
STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 24px; color: {INK}; background: {PAPER} }}
.wide {{ overflow-x: auto }} table {{ border-spacing: 12px }}
th {{ font-weight: 400; text-align: left; vertical-align: top }} td {{ vertical-align: top }}
td > img, td > button > img {{ width: 192px; display: block }}
tr > th:first-child {{ position: sticky; left: 0; background: {PAPER} }}
button {{ padding: 0; border: 0; background: none; cursor: pointer }}
button[aria-pressed=true] {{ outline: 3px solid {INK} }}
small {{ color: {QUIET}; display: block; font-size: 13px }}
pre {{ overflow: auto; max-height: 24em; background: {MAT} }}
#both {{ position: sticky; top: 0; background: {PAPER}; padding: 8px 0; z-index: 1 }} #both[hidden] {{ display: none }}
#both div {{ position: relative; width: min(384px, 90vw) }} #both img {{ width: 100%; display: block }}
#both img + img {{ position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--cut, 50%)) 0 0) }}
#both input {{ width: min(384px, 90vw) }}
"""
#: Two images that are clicked lie under a slider: the second on the right of it.
SCRIPT = """
const both = document.querySelector("#both"), [under, over] = both.querySelectorAll("img");
let chosen = [];
both.querySelector("input").oninput = (event) => both.style.setProperty("--cut", event.target.value + "%");
for (const button of document.querySelectorAll("button[data-name]")) button.onclick = () => {
  chosen = chosen.includes(button) ? chosen.filter((one) => one !== button) : [...chosen.slice(-1), button];
  const all = document.querySelectorAll("button[data-name]");
  all.forEach((one) => one.setAttribute("aria-pressed", chosen.includes(one)));
  both.hidden = chosen.length < 2;
  if (both.hidden) return;
  [over.src, under.src] = chosen.map((one) => one.querySelector("img").src);
  both.querySelector("p").textContent = chosen.map((one) => one.dataset.name).join("  |  ");
};
"""


def page(
    store: ComparisonStore, id: str, comparison: Comparison, results: Mapping[str, Result], images: Mapping[str, Any]
) -> str:
    """A page of HTML that holds everything. images: content hash -> image, of what the columns were given."""
    names, columns = figures(comparison, results), comparison.axes[0].values
    parts = [f"<h1>{escape(comparison.title)}</h1><p>{escape(comparison.base.prompt)}</p>",
             '<div id="both" hidden><div><img alt="B"><img alt="A"></div><input type="range" value="50" '
             'aria-label="How much of A is shown"><p></p></div><p>Click two images to lay them under a slider.</p>',
             _ranks(comparison, results, names)]  # fmt: skip
    for label, cells in grids(comparison):
        rows, (first, given) = rows_of(comparison, cells), given_columns(comparison, cells, images)
        heads = "".join(f"<th>{escape(words)}</th>" for words in [*first, *(value.label for value in columns)])
        title = f"<h2>{escape(label)}</h2>" if label else ""
        parts.append(f'{title}<div class="wide"><table><tr><th></th>{heads}</tr>')
        for row, shown in zip(rows, given):
            name = comparison.axes[1].values[row[0].place[1]].label if len(comparison.axes) > 1 else ""
            body = "".join(f'<td><img alt="{escape(one.label)}" src="{data_uri(one.image)}">'
                           f"<small>{escape(one.words)}</small></td>" for one in shown)  # fmt: skip
            body += "<td></td>" * (len(first) - len(shown))
            for cell in row:
                path, label = store.image(id, cell.key), comparison.label(cell.place)
                body += f"<td>{_cell(path, label, cell, results.get(cell.key), names)}</td>"
            parts.append(f"<tr><th>{escape(name)}</th>{body}</tr>")
        parts.append("</table></div>")
    json = escape(comparison.model_dump_json(indent=1))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(comparison.title)}</title>'
        f"<style>{STYLE}</style><body>{''.join(parts)}<h2>To make it again</h2><pre>{json}</pre>"
        f"<script>{SCRIPT}</script></body></html>"
    )


def _ranks(comparison: Comparison, results: Mapping[str, Result], names: list[str]) -> str:
    """The columns ranked by the measure that says most of their task."""
    if not names:
        return ""
    measure, found = MEASURES[names[0]], summary(comparison, results)["measures"][names[0]]
    rows = "".join(f"<tr><td>{place}</td><th>{escape(rank['label'])}</th><td>{measure.text(rank['mean'])}</td></tr>"
                   for place, rank in enumerate(found["ranks"], 1))  # fmt: skip
    without = CONDITIONS[comparison.asked.kind]
    rows += "".join(f"<tr><td></td><th>{escape(rank['label'])}, without {without}, so not ranked</th>"
                    f"<td>{measure.text(rank['mean'])}</td></tr>" for rank in found["unranked"])  # fmt: skip
    return f"<h2>Ranks</h2><p>{escape(measure.title)}: {measure.better} is better</p><table>{rows}</table>"


def _cell(path: Path, label: str, cell: Cell, one: Result | None, names: list[str]) -> str:
    if one is None:
        return f"<small>{escape(cell.problem or 'not made')}</small>"
    small = "".join(f"<small>{escape(words)}</small>" for words in said(one, names))
    button = f'<button type="button" data-name="{escape(label)}" aria-pressed="false">'
    return f'{button}<img alt="{escape(label)}" src="{data_uri(path.read_bytes())}"></button>{small}'
