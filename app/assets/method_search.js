// @ts-check
/** Methods by the words of whoever looks for one, the aptest first. Nothing here touches the document. */

/** @import { Catalogue, Method, Signpost, Task } from "./server.d.ts" */

const SUFFIX = /(ations?|ions?|ings?|ers?|ed|es|s|e)$/;
/** American spellings, and words that are written apart or together, as the catalogue has them. */
const SPELLINGS = /** @type {[RegExp, string][]} */ ([
  [/colou?r/g, "colour"], [/iz(e|ing|ation|ed)\b/g, "is$1"], [/\bgray/g, "grey"], [/\bcentre/g, "center"],
  [/\b(in|out) paint/g, "$1paint"], [/\b([a-z]{3,})2([a-z]{3,})\b/g, "$1 to $2"],
  [/\bsuperres\w*|\bsr\b/g, "super resolution"], [/\bup ?(scal|sampl)\w*/g, "upscale"], [/\bde ?(nois|blur)/g, "de$1"],
]);
const LAST = 6; // the place in a task beyond which places do not matter
const LACKING = 0.1; // what the network has none of comes after what runs on it, where both answer
const LITTLE = new Set(["a", "an", "the", "my", "to", "of", "in", "with", "for", "how", "do", "i", "into", "by", "from"]);

/** Small letters, no marks, one spelling. @param {string} text */
function plain(text) {
  const spelt = text.toLowerCase().replace(/[-_/.,:;!?()"“”'’]+/g, " ").replace(/\s+/g, " ").trim();
  return SPELLINGS.reduce((now, [from, to]) => now.replace(from, to), spelt);
}

/** @param {string} word */
function stem(word) {
  const short = word.replace(SUFFIX, "");
  return short.length >= 4 ? short : word;
}

/** Without the spaces: "lineart" is "line art". @param {string} text */
const joined = (text) => text.replaceAll(" ", "");

/** @param {string} text */
const words = (text) => plain(text).split(" ").filter((word) => word && !LITTLE.has(word));

/**
 * How well one word of a text answers to what was typed: 1 the same, 0.9 the same but for its ending, 0.6 its beginning.
 * @param {string} typed
 * @param {string} word
 */
function likeness(typed, word) {
  if (typed === word) return 1;
  if (stem(typed) === stem(word)) return 0.9;
  return typed.length > 1 && word.startsWith(typed) ? 0.6 : 0;
}

/**
 * How well a text answers: the share of its own words that are meant counts, so that "depth" is "depth" before it is
 * "depth map". 0 where a word that was typed is not in it.
 * @param {string[]} typed
 * @param {string} text
 */
function answer(typed, text) {
  const own = words(text);
  if (typed.join("") === own.join("")) return 1;
  const best = typed.map((word) => Math.max(0, ...own.map((one) => likeness(word, one))));
  if (!own.length || best.includes(0)) return 0;
  return (best.reduce((sum, one) => sum + one, 0) / typed.length) * (0.7 + 0.3 * Math.min(1, typed.length / own.length));
}

/**
 * @param {string[]} typed
 * @param {Method} method
 * @param {string} more further words, as of the operators that it takes
 * @returns {number} 0 where it is not meant
 */
function score(typed, method, more) {
  const name = Math.max(answer(typed, method.title), answer(typed, method.name));
  const search = Math.max(0, ...method.search.map((one, i) => answer(typed, one) * (1 - 0.01 * i)));
  const all = `${method.title} ${method.name} ${method.task} ${method.search.join(" ")} ${method.summary} ${more}`;
  return Math.max(1.2 * name, search, 0.4 * answer(typed, method.task), 0.3 * answer(typed, all));
}

/**
 * What was found: methods, the aptest first; and a sentence where the words are of what is not here or elsewhere.
 * @typedef {{ methods: Method[], signpost: Signpost | null }} Found
 */

/**
 * @param {string} typed
 * @param {Pick<Catalogue, "methods" | "operators" | "signposts" | "tasks">} catalogue
 * @param {readonly string[] | null} offers of the network; null: not known yet
 * @returns {Found}
 */
export function searchMethods(typed, { methods, operators, signposts, tasks }, offers = null) {
  const asked = words(typed);
  if (!asked.length) return { methods: [], signpost: null };
  const signpost = signpostOf(plain(typed), signposts);
  const near = signpost?.methods ?? [];
  const ofOperators = operators.map((one) => one.title).join(" ");
  const scored = Object.values(methods).map((method) => {
    const more = method.inputs.some((one) => one.kind === "operator") ? ofOperators : "";
    const place = near.indexOf(method.name), meant = score(asked, method, more);
    const ofEqual = 0.02 * placeInTask(method.name, tasks); // of those that answer alike, the one that its task names first
    const lacks = offers && method.need_keys.some((key) => !offers.includes(key)) ? LACKING * meant : 0;
    return { method, value: Math.max(meant && meant - ofEqual - lacks, place < 0 ? 0 : 0.5 - 0.01 * place) };
  });
  const found = scored.filter((one) => one.value > 0).sort((a, b) => b.value - a.value).map((one) => one.method);
  const isAnswered = found.length > 0 && Math.max(...scored.map((one) => one.value)) > 0.75;
  return { methods: found, signpost: isAnswered && !isExact(plain(typed), signpost) ? null : signpost };
}

/**
 * @param {string} name of a method
 * @param {readonly Task[]} tasks
 */
const placeInTask = (name, tasks) => Math.min(LAST, ...tasks.map((one) => one.methods.indexOf(name)).filter((at) => at >= 0));

/**
 * @param {string} asked
 * @param {Signpost | null} signpost
 */
const isExact = (asked, signpost) => signpost?.words.some((word) => joined(plain(word)) === joined(asked)) ?? false;

/**
 * The signpost of these words: one of its words is what was typed, is in it, or begins with it.
 * @param {string} asked
 * @param {readonly Signpost[]} signposts
 */
function signpostOf(asked, signposts) {
  const typed = asked.split(" ").map(stem).join(" ");
  const value = (/** @type {Signpost} */ one) => Math.max(...one.words.map((word) => {
    const own = plain(word), bare = own.split(" ").map(stem).join(" ");
    if (joined(own) === joined(asked)) return 4;
    if (bare === typed) return 3;
    if (` ${typed} `.includes(` ${bare} `)) return 2;
    return asked.length >= 4 && own.startsWith(asked) ? 1 : 0;
  }));
  const best = signposts.toSorted((a, b) => value(b) - value(a)).at(0);
  return best && value(best) > 0 ? best : null;
}
