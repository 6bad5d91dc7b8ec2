// @ts-check
/** Undo for the settings: what they were before each change. Nothing here touches the document. */

/** @typedef {Record<string, unknown>} Settings field -> what its control holds */

const MOST = 100; // changes that can be undone
const TYPING = 1500; // milliseconds within which changes of one field count as one

/** The fields that differ. @param {Settings} a @param {Settings} b */
export function changed(a, b) {
  return Object.keys({ ...a, ...b }).filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

/** The settings as they are, and as they were. */
export class UndoList {
  constructor() {
    /** @type {Settings | null} */
    this.now = null;
    /** @type {Settings[]} */
    this.before = [];
    this.field = ""; // that changed last, where it was one alone
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
      const field = fields.length === 1 ? fields[0] ?? "" : "";
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
