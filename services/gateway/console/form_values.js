/** Between an engine's typed inputs and what a person types: last values, defaults, the body that is sent. */

/** @typedef {import("./types.js").Input} Input */
/** @typedef {Record<string, string>} Typed */

/** @param {string} userId @param {string} engineId */
function placeOf(userId, engineId) {
  return `lekhika.form.${userId}.${engineId}`;
}

/** What must be given comes first. @param {Record<string, Input>} inputs @returns {[string, Input][]} */
export function inputsInOrder(inputs) {
  return Object.entries(inputs).sort(([, one], [, other]) => Number(other.required ?? false) - Number(one.required ?? false));
}

/** @param {string} userId @param {string} engineId @param {Record<string, Input>} inputs @returns {Typed} */
export function initialValues(userId, engineId, inputs) {
  const kept = read(placeOf(userId, engineId));
  return Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, kept[name] ?? shown(input.default)]));
}

/** @param {string} userId @param {string} engineId @param {Typed} typed */
export function keepValues(userId, engineId, typed) {
  localStorage.setItem(placeOf(userId, engineId), JSON.stringify(typed));
}

/** @param {string} userId @returns {string | null} */
export function lastEngine(userId) {
  return localStorage.getItem(`lekhika.engine.${userId}`);
}

/** @param {string} userId @param {string} engineId */
export function keepEngine(userId, engineId) {
  localStorage.setItem(`lekhika.engine.${userId}`, engineId);
}

/**
 * What was left empty is left out, so that the engine's default holds. Wrong values go as typed: the gateway judges.
 *
 * @param {Record<string, Input>} inputs @param {Typed} typed @returns {Record<string, unknown>}
 */
export function bodyOf(inputs, typed) {
  /** @type {Record<string, unknown>} */
  const body = {};
  for (const [name, { type }] of Object.entries(inputs)) {
    const value = typed[name] ?? "";
    if (value.trim() === "") continue;
    if (type === "number") body[name] = Number.isNaN(Number(value)) ? value : Number(value);
    else if (type === "list") body[name] = value.split("\n").map((line) => line.trim()).filter(Boolean);
    else body[name] = value;
  }
  return body;
}

/**
 * What has to be given and is not, known without asking the gateway.
 *
 * @param {Record<string, Input>} inputs @param {Record<string, unknown>} body
 */
export function missingIn(inputs, body) {
  const blank = inputsInOrder(inputs).filter(([name, input]) => input.required && input.default == null && !(name in body));
  return blank.map(([name]) => ({ field: `input.${name}`, detail: "is required" }));
}

/** @param {Input["default"]} value */
function shown(value) {
  if (value == null) return "";
  return Array.isArray(value) ? value.join("\n") : String(value);
}

/** @param {string} place @returns {Typed} */
function read(place) {
  try {
    return JSON.parse(localStorage.getItem(place) ?? "{}") ?? {};
  } catch {
    return {};
  }
}
