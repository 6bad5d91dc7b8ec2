// @ts-check
/** Undo for the settings: what they were before each change. Nothing here touches the document. */

/** @typedef {Record<string, unknown>} Settings field -> what its control holds */

const MOST = 100; // changes that can be undone
const TYPING = 1500; // milliseconds within which changes of one field count as one

/** The fields that differ. @param {Settings} a @param {Settings} b */
export function changed(a, b) {
  return Object.keys({ ...a, ...b }).filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

/** What a text stands for, where it is JSON; else itself. @param {unknown} value */
function parsed(value) {
  try { return typeof value === "string" && value.startsWith("{") ? JSON.parse(value) : value; } catch { return value; }
}

const HASH = /^[0-9a-f]{64}$/; // of an image: every stroke of a brush makes another one

/**
 * The place of all that differs between two values, such as "methods.cards.0.inputs.boxes.1.left": of several places what
 * they share. null for what is never typed: an image, or that there are more or fewer cards, boxes or inputs.
 * @param {unknown} a
 * @param {unknown} b
 * @returns {string[] | null}
 */
export function placeOfChange(a, b) {
  const [before, after] = [parsed(a), parsed(b)];
  const are = [before, after].filter((one) => typeof one === "object" && one !== null).length;
  if (are < 2) return are || HASH.test(String(before)) || HASH.test(String(after)) ? null : [];
  const [one, other] = /** @type {Settings[]} */ ([before, after]);
  if (Object.keys(one).join() !== Object.keys(other).join()) return null;
  const [name, ...more] = changed(one, other);
  if (name === undefined || more.length) return [];
  const inside = placeOfChange(one[name], other[name]);
  return inside && [name, ...inside];
}

/** The settings as they are, and as they were. */
export class UndoList {
  constructor() {
    /** @type {Settings | null} */
    this.now = null;
    /** @type {Settings[]} */
    this.before = [];
    this.field = ""; // that changed last, down to one box of a method; "" where several changed
    this.moment = 0; // of that change, in milliseconds
  }

  /**
   * The settings at a moment; whether something can be undone.
   * @param {Settings} settings
   * @param {number} moment
   */
  note(settings, moment) {
    const fields = this.now ? changed(this.now, settings) : [];
    if (this.now && fields.length) {
      const field = placeOfChange(this.now, settings)?.join(".") ?? "";
      const goesOn = field !== "" && field === this.field && moment - this.moment < TYPING;
      if (!goesOn) this.before = [...this.before, this.now].slice(-MOST);
      this.field = field;
      this.moment = moment;
    }
    this.now = settings;
    return this.before.length > 0;
  }

  /** The settings before the last change, from now on those that are; null where nothing was changed. */
  undo() {
    const settings = this.before.pop() ?? null;
    if (settings) this.now = settings;
    this.field = "";
    return settings;
  }
}
