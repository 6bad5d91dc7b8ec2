// Written by `python -m app.page_types` from app/page_messages.py: change that, not this.

export interface AllRatings {
  count: number;
  ratings: [string, number, number, number][];
}

export interface Apart {
  x: (number | null)[];
  x0: (number | null)[];
  onset: number | null;
  step: number | null;
}

/** Edges as parts 0..1 of the image, and what should be in it. */
export interface BoxValue {
  left: number;
  top: number;
  right: number;
  bottom: number;
  text?: string;
}

/** One method on the page. */
export interface Card {
  name: string;
  knobs?: Record<string, boolean | number | string>;
  inputs?: Record<string, string | DegradationValue | string[] | BoxValue[] | PointValue[]>;
  fit?: Record<string, "crop" | "stretch" | "pad">;
  mask_edges?: Record<string, MaskEdge>;
  muted?: boolean;
  solo?: boolean;
}

/** GET catalogue.json */
export interface Catalogue {
  families: Family[];
  methods: Record<string, Method>;
  operators: Operator[];
  tasks: Task[];
  image_uses: ImageUse[];
  tiles: string;
  signposts: Signpost[];
}

export interface CellResult {
  seconds: number;
  nfe: number;
  rows: number;
  gradients: number;
  formula: string;
  figures: Record<string, number>;
  left_out: string;
  seen: string;
}

export interface CellState {
  status: "waiting" | "running" | "done" | "failed" | "cancelled";
  image?: string;
  result?: CellResult;
  step?: number;
  steps?: number;
  first?: string;
  reason?: string;
}

export interface ChoiceKnob {
  name: string;
  label: string;
  help: string;
  type: "choice";
  default: string;
  options: string[];
}

export interface CompareAxis {
  name: string;
  labels: string[];
}

export interface CompareCell {
  key: string;
  place: number[];
  aspect: number;
  conditions: Condition[];
}

export interface ComparisonGone {
  gone: string;
}

/** What has changed. */
export interface ComparisonNews {
  id: string;
  busy: boolean;
  seconds_left: number | null;
  states: Record<string, CellState>;
  count: Counts;
  summary?: Summary;
}

/** After a vote. */
export interface ComparisonVotes {
  id: string;
  votes: Ratings;
}

export interface Condition {
  label: string;
  image: string;
  words: string;
}

export interface Costs {
  seconds: Record<string, number | null>;
  nfe: Record<string, number | null>;
}

export interface Counts {
  done: number;
  failed: number;
  running: number;
  waiting: number;
  cancelled: number;
}

export interface CurveLook {
  title: string;
  unit: string;
  of: string;
  log: boolean;
  says: string;
}

/** What was done to an image before it was measured. sigma_y: noise, in units where images are [-1, 1]. */
export interface DegradationValue {
  image?: string;
  name: string;
  parameters?: Record<string, boolean | number | string>;
  sigma_y?: number;
  seed?: number;
}

export interface Exports {
  png: string;
  html: string;
  csv: string;
  json: string;
}

export interface Family {
  key: string;
  name: string;
  stage: string;
  group: string;
  glyph: string;
  summary: string;
  methods: string[];
}

/** What an image that is dropped or pasted can be used for: an input of a method, with these knobs. */
export interface ImageUse {
  title: string;
  summary: string;
  method: string;
  input: string;
  knobs: Record<string, string>;
  needs: string[];
}

export interface Input {
  name: string;
  label: string;
  kind: "image" | "map" | "mask" | "prompt" | "words" | "network" | "boxes" | "points" | "references" | "operator" | "loras";
  optional: boolean;
  wanted_by: Record<string, string[]>;
  ask: string;
  help: string;
  of: string;
}

/** A file of the folder of LoRA files; size in words. */
export interface LoraFile {
  name: string;
  size: string;
}

/** What is said at the cards; keys are fields such as methods.0.knobs.weight. */
export interface Marks {
  problems: Record<string, string>;
  notes: Record<string, string>;
  unused: Record<string, string>;
  wrong: string[];
  offers: string[] | null;
  loras: LoraFile[] | null;
  takes_loras: boolean;
  visit_token: string;
  model: string;
  backbone: string;
}

/** The edge of a mask, in pixels of the result: see `common.fitting.with_edge`. */
export interface MaskEdge {
  grow?: number;
  feather?: number;
}

export interface MaskParameter {
  name: string;
  label: string;
  type: "mask";
}

export interface Measure {
  title: string;
  unit: string;
  better: "more" | "less";
  of: string;
  digits: number;
  trust: Trust | null;
}

export interface Method {
  name: string;
  title: string;
  family: string;
  kind: string;
  task: string;
  order: [number, number];
  summary: string;
  equation: string;
  paper: string;
  link: string;
  needs: string[];
  need_keys: string[];
  cost: string;
  differs: string;
  search: string[];
  fixed: boolean;
  knobs: (ChoiceKnob | SwitchKnob | NumberKnob)[];
  inputs: Input[];
}

export interface NumberKnob {
  name: string;
  label: string;
  help: string;
  type: "int" | "float";
  default: number | string;
  low: number;
  high: number;
  step: number;
  curve?: boolean;
  neutral?: unknown;
}

export interface Operator {
  name: string;
  title: string;
  parameters: (MaskParameter | NumberKnob)[];
}

export interface ParetoLines {
  seconds: string[];
  nfe: string[];
}

export interface Paths {
  x: ProjectedPaths | null;
  x0: ProjectedPaths | null;
}

/** A place as parts 0..1 of the image, and where it should move. */
export interface PointValue {
  x: number;
  y: number;
  to_x?: number | null;
  to_y?: number | null;
}

/** POST measured: the observation that a degradation makes of an image. */
export interface Preview {
  image?: string;
  words?: string;
  error?: string;
}

export interface ProjectedPaths {
  points: number[][][];
  shares: number[];
}

export interface Rank {
  label: string;
  mean: number;
  low: number | null;
  high: number | null;
  cells: number;
}

export interface RankedMeasure {
  ranks: Rank[];
  unranked: Rank[];
  pareto: ParetoLines;
}

export interface Ratings {
  count: number;
  neither: number;
  ratings: [string, number, number, number][];
  all: AllRatings;
}

/** Words that are searched for where no method does it, and the nearest that there is. */
export interface Signpost {
  words: string[];
  says: string;
  methods: string[];
}

/** The cards in their order. `places` says where the methods of the recipe stand among them. */
export interface Stack {
  cards?: Card[];
}

export interface Strips {
  x: string;
  x0: string;
  count: number;
  width: number;
  height: number;
}

export interface Summary {
  measures: Record<string, RankedMeasure>;
  cost: Costs;
}

export interface SwitchKnob {
  name: string;
  label: string;
  help: string;
  type: "bool";
  default: boolean;
  low: number;
  high: number;
  step: number;
  curve: boolean;
  neutral: unknown;
}

/** What one can do, in a user's words. */
export interface Task {
  key: string;
  title: string;
  summary: string;
  methods: string[];
}

/** data-image of an image of the strip. */
export interface Thumbnail {
  html: string;
}

/** Runs that have ended. */
export interface Trajectories {
  id: string;
  prompt: string;
  model: string;
  figures: Record<string, CurveLook>;
  runs: TrajectoryRun[];
  paths: Paths;
  files: TrajectoryFiles | null;
  stored?: boolean;
}

export interface TrajectoryFiles {
  npz: string;
  csv: string;
}

export interface TrajectoryProgress {
  busy: string[];
  steps: number;
  of: number;
  first?: string;
}

export interface TrajectoryRun {
  label: string;
  sigmas: number[];
  figures: Record<string, (number | null)[]>;
  strips: Strips;
  nfe: number;
  seconds: number;
  chord: number;
  length: number;
  apart: Apart | null;
  attentive: boolean;
}

export interface TrajectoryStopped {
  stopped: boolean;
}

export interface Trust {
  own: number;
  other: number;
}

/** POST inputs */
export interface Uploaded {
  sha256?: string;
  width?: number;
  height?: number;
  notes?: string[];
  settings?: string;
  error?: string;
}

/** What the browser is to keep of a visit (app/assets/visit.js). */
export interface VisitNews {
  visit_token?: string;
  images?: [string, string][];
  comparisons?: [string, string][];
  trajectories?: [string, string][];
  all?: boolean;
  address?: string;
  columns?: string[];
  shelf?: Record<string, string>;
  fields?: Record<string, unknown>;
  tab?: string;
}

/** The whole of it, when it is opened. */
export interface WholeComparison {
  id: string;
  busy: boolean;
  seconds_left: number | null;
  states: Record<string, CellState>;
  count: Counts;
  summary?: Summary;
  title: string;
  prompt: string;
  axes: CompareAxis[];
  glyphs: string[];
  cells: CompareCell[];
  given: Record<string, string>;
  condition: string;
  without_condition: number[];
  measures: Record<string, Measure>;
  exports: Exports;
  votes: Ratings;
  stored?: boolean;
}
