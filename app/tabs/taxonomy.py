"""The tab "Taxonomy": the survey's tree, what each family changes, all entries, and what does each task.

The tree knows the survey's list alone and is there at once. What is said of methods is read from the registry when the
tab is first opened, in one piece: from then on choosing, filtering and searching happen in the browser
(assets/taxonomy.js).
"""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from app import scripts
from app.catalog import survey
from app.catalog.prompts import EXAMPLES
from app.forms.stack import Stack
from app.service.state import AppState
from app.tabs import taxonomy_panels, tree
from app.tabs.create import Create
from app.tabs.listeners import SHORT

MOUNT = scripts.mount("taxonomy", events=["attempt"])


class Taxonomy:
    """The tab's components. "Try it" fills the tab Create and goes there."""

    def __init__(self, state: AppState, create: Create, tabs: gr.Tabs, tab: gr.Tab):
        self.state, self.create, self.tabs = state, create, tabs
        with gr.Column(elem_id="taxonomy"):
            self.tree = gr.HTML(_side(), elem_id="taxonomy-tree", apply_default_css=False)
            self.panel = gr.HTML(
                taxonomy_panels.waiting(), elem_id="taxonomy-panel", js_on_load=MOUNT, apply_default_css=False
            )
        self.read = gr.State(False)

        press = scripts.call("gradio", "generate")
        tab.select(self.fill, self.read, [self.panel, self.read], **SHORT)
        self.panel.attempt(self.attempt, create.controls, [*create.outputs, tabs], **SHORT).success(
            None, None, None, js=press, **SHORT
        )

    def fill(self, read: bool) -> dict[Any, Any]:
        """Every panel, once a visit."""
        return {self.read: True} if read else {self.read: True, self.panel: taxonomy_panels.panels()}

    def attempt(self, data: gr.EventData, *values: Any) -> dict[Any, Any]:
        """The example of a method, or a prompt for a network, into the controls; and over to Create."""
        over = {self.tabs: gr.Tabs(selected="create")}
        network = (data._data or {}).get("network")
        if network is None:
            return self.create.example(data, *values) | over
        if network not in self.state.models:
            return self.create.leave("This network is not here. Choose another one under Model.") | over
        model = self.state.model(network)
        size = model.default_size()
        settings = {
            "backbone": model.id, "methods": Stack().json(), "prompt": EXAMPLES[0], "width": size, "height": size
        }  # fmt: skip
        return self.create.put(settings, f"A prompt for {escape(model.name)} is in the controls.") | over


def _side() -> str:
    """The tree, what its dots mean, and the choice of a task."""
    found = survey.counts(survey.entries())
    legend = "".join(
        f"<li>{tree.mark(status)}<span>{found[status]} {words}</span></li>"
        for status, (_, words) in survey.STATUS.items()
    )
    options = "".join(f'<option value="task:{key}">{name}</option>' for key, (name, _) in survey.TASKS.items())
    return (
        f'<p class="nw-t-lead">The survey lists {len(survey.entries())} methods by how a condition gets in; each is a '
        f'dot.</p><ul class="nw-t-legend" aria-label="What the dots mean">{legend}</ul>{tree.drawn()}'
        f'{tree.listed()}<label class="nw-field nw-t-task"><span class="nw-field-head">Which ways can do a task?</span>'
        f'<select id="taxonomy-task"><option value="">Choose a task</option>{options}</select></label>'
        '<button type="button" class="nw-link nw-t-to-models" data-panel-of="models">Which models run what?</button>'
    )


def tab(state: AppState, create: Create, tabs: gr.Tabs, own: gr.Tab) -> Taxonomy:
    """Build the tab inside the page that is being built."""
    return Taxonomy(state, create, tabs, own)
