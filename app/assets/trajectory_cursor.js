// @ts-check
/** Where the runs of the tab Trajectory are looked at, and what tells them apart. */

/** @import { TrajectoryRun } from "./server.d.ts" */

/**
 * For everything that shows a step of the runs.
 * @typedef {object} Cursor
 * @property {(run: TrajectoryRun) => number} stepOf the step of a run
 * @property {(fraction: number) => void} go to a fraction of the runs
 * @property {(handle: () => void) => void} onMove from now on, until the board is drawn again
 */

const HUES = ["a", "b", "c", "d", "e", "f"];

/** The colour of a run, by its place. @param {number} i */
export const hue = (i) => `var(--nw-run-${HUES[i % HUES.length]})`;

/** How many steps a run has. @param {Pick<TrajectoryRun, "sigmas">} run */
export const stepsOf = (run) => run.sigmas.length - 1;
