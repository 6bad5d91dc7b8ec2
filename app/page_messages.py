"""What the server sends to the page's scripts, as types. `app.page_types` writes the same in TypeScript.

tests/app/test_page_messages.py holds them equal to what is really sent.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from app.catalogue_messages import Catalogue, Message
from app.forms.stack import Stack

# ---- the tab Create --------------------------------------------------------------------------------------------------


class LoraFile(Message):
    """A file of the folder of LoRA files; size in words."""

    name: str
    size: str


class Marks(Message):
    """What is said at the cards; keys are fields such as methods.0.knobs.weight."""

    problems: dict[str, str]
    notes: dict[str, str]
    unused: dict[str, str]  # settings that the run does not use, such as eta
    wrong: list[str]  # fields beside the cards for which a run would be refused
    offers: list[str] | None  # what the network can do, None until it has loaded
    loras: list[LoraFile] | None  # that a card can name, None where no card asks for some
    takes_loras: bool  # whether such files can be uploaded
    visit_token: str  # of this visit: without it no image goes in or out
    model: str
    backbone: str


class VisitNews(Message):
    """What the browser is to keep of a visit (app/assets/visit.js)."""

    visit_token: NotRequired[str]
    images: NotRequired[list[tuple[str, str]]]  # id and signature, newest first
    comparisons: NotRequired[list[tuple[str, str]]]
    trajectories: NotRequired[list[tuple[str, str]]]
    all: NotRequired[bool]  # these are all that there are; else they are new ones
    address: NotRequired[str]  # of what the tab in view shows now
    columns: NotRequired[list[str]]  # that were added to Compare: recipes as JSON
    shelf: NotRequired[dict[str, str]]  # images given to be rows of Compare: name, content hash
    fields: NotRequired[dict[str, Any]]  # what goes into the controls, where a person has not changed them since
    tab: NotRequired[str]  # the tab to go to, where a person has not chosen another one since


class Uploaded(Message):
    """POST inputs"""

    sha256: NotRequired[str]
    width: NotRequired[int]
    height: NotRequired[int]
    notes: NotRequired[list[str]]
    settings: NotRequired[str]  # that the file carries, in a line; not there where it carries none that can be read
    error: NotRequired[str]


class Preview(Message):
    """POST measured: the observation that a degradation makes of an image."""

    image: NotRequired[str]  # data URI
    words: NotRequired[str]
    error: NotRequired[str]


class Thumbnail(Message):
    """data-image of an image of the strip."""

    html: str


# ---- the tab Compare -------------------------------------------------------------------------------------------------


class CompareAxis(Message):
    name: str
    labels: list[str]


class Condition(Message):
    label: str  # of what a cell's run is given, or should give
    image: str  # a key of "given"
    words: str


class CompareCell(Message):
    key: str
    place: list[int]
    aspect: float
    conditions: list[Condition]


class Trust(Message):
    own: float
    other: float


class Measure(Message):
    title: str
    unit: str
    better: Literal["more", "less"]
    of: str
    digits: int
    trust: Trust | None


class CellResult(Message):
    seconds: float
    nfe: int
    rows: int
    gradients: int
    formula: str
    figures: dict[str, float]
    left_out: str
    seen: str


class CellState(Message):
    status: Literal["waiting", "running", "done", "failed", "cancelled"]
    image: NotRequired[str]
    result: NotRequired[CellResult]
    step: NotRequired[int]
    steps: NotRequired[int]
    first: NotRequired[str]
    reason: NotRequired[str]


class Counts(Message):
    done: int
    failed: int
    running: int
    waiting: int
    cancelled: int


class Rank(Message):
    label: str
    mean: float
    low: float | None
    high: float | None
    cells: int


class ParetoLines(Message):
    seconds: list[str]
    nfe: list[str]


class RankedMeasure(Message):
    ranks: list[Rank]
    unranked: list[Rank]  # of columns that do not do the task
    pareto: ParetoLines


class Costs(Message):
    seconds: dict[str, float | None]
    nfe: dict[str, float | None]


class Summary(Message):
    measures: dict[str, RankedMeasure]
    cost: Costs


class AllRatings(Message):
    count: int
    ratings: list[tuple[str, int, int, int]]  # label, rating, low, high


class Ratings(Message):
    count: int
    neither: int  # votes that found neither of the two good
    ratings: list[tuple[str, int, int, int]]
    all: AllRatings


class ComparisonNews(Message):
    """What has changed."""

    id: str
    busy: bool
    seconds_left: float | None  # None where nothing is known
    states: dict[str, CellState]
    count: Counts
    summary: NotRequired[Summary]


class ComparisonVotes(Message):
    """After a vote."""

    id: str
    votes: Ratings


class ComparisonGone(Message):
    gone: str  # the id of a comparison that was deleted


class Exports(Message):
    png: str
    html: str
    csv: str
    json: str


class WholeComparison(ComparisonNews):
    """The whole of it, when it is opened."""

    title: str
    prompt: str
    axes: list[CompareAxis]
    glyphs: list[str]  # SVG
    cells: list[CompareCell]
    given: dict[str, str]  # data URIs
    condition: str  # what the columns are given, in words
    without_condition: list[int]  # columns that are not given it: shown beside the others, and not ranked
    measures: dict[str, Measure]
    exports: Exports
    votes: Ratings
    stored: NotRequired[bool]  # came with the app, to open with


# ---- the tab Trajectory ----------------------------------------------------------------------------------------------


class CurveLook(Message):
    title: str
    unit: str
    of: str
    log: bool
    says: str  # in one sentence, what can be read off it


class Strips(Message):
    x: str
    x0: str
    count: int
    width: int
    height: int


class Apart(Message):
    x: list[float | None]
    x0: list[float | None]
    onset: float | None
    step: int | None


class TrajectoryRun(Message):
    label: str
    sigmas: list[float]
    figures: dict[str, list[float | None]]
    strips: Strips
    nfe: int
    seconds: float
    chord: float
    length: float
    apart: Apart | None
    attentive: bool


class ProjectedPaths(Message):
    points: list[list[list[float]]]
    shares: list[float]


class Paths(Message):
    x: ProjectedPaths | None
    x0: ProjectedPaths | None


class TrajectoryFiles(Message):
    npz: str
    csv: str


class Trajectories(Message):
    """Runs that have ended."""

    id: str
    prompt: str
    model: str
    figures: dict[str, CurveLook]
    runs: list[TrajectoryRun]
    paths: Paths
    files: TrajectoryFiles | None
    stored: NotRequired[bool]  # with the app, to open with


class TrajectoryProgress(Message):
    busy: list[str]
    steps: int
    of: int
    first: NotRequired[str]


class TrajectoryStopped(Message):
    stopped: bool


MESSAGES: tuple[Any, ...] = (
    Catalogue, Stack, Marks, VisitNews, Uploaded, Preview, Thumbnail, WholeComparison, ComparisonNews, ComparisonVotes,
    ComparisonGone,
    Trajectories, TrajectoryProgress, TrajectoryStopped,
)  # fmt: skip
