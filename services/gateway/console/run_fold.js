/** What each event of a run's stream changes. Pure but for the NodeText objects, which grow in place. */
import { NodeText } from "./text_assembly.js";

/** @typedef {import("./types.js").Execution} Execution */
/** @typedef {import("./types.js").RunNode} RunNode */
/** @typedef {import("./types.js").Tokens} Tokens */
/** @typedef {{reason: string, seconds: number}} Waiting */

/**
 * `calls` has what calls that are still open have used so far, by node; it is not in the execution's tokens yet.
 *
 * @typedef {{execution: Execution | null, texts: Map<string, NodeText>, calls: Map<string, Tokens>,
 *   waits: Map<string, Waiting>, ended: boolean}} Run
 */

export const ENDS = new Set(["completed", "stopped", "failed"]);

/** @returns {Run} */
export function emptyRun() {
  return { execution: null, texts: new Map(), calls: new Map(), waits: new Map(), ended: false };
}

/** @param {Run} run @param {string} event @param {any} data @returns {Run} */
export function applyEvent(run, event, data) {
  switch (event) {
    case "snapshot":
      return { ...run, execution: data };
    case "node":
      return applyNode(run, data);
    case "delta":
      return applyDelta(run, data);
    case "state":
      return run.execution ? { ...run, execution: { ...run.execution, ...data } } : run;
    case "end":
      return { ...run, execution: data.execution, calls: new Map(), waits: new Map(), ended: true };
    default:
      // A later gateway may send more kinds of events; they are not ours to judge.
      return run;
  }
}

/** @param {Run} run @param {RunNode} node @returns {Run} */
function applyNode(run, node) {
  if (!run.execution) return run;
  if (node.status === "running") textOf(run, node.id).begin(node.attempts);
  const nodes = [...run.execution.nodes];
  const index = nodes.findIndex(({ id }) => id === node.id);
  if (index < 0) nodes.splice(placeOf(nodes, node.id), 0, node);
  else nodes[index] = node;
  // A call that was begun, given up or finished has a new account; that of the old one is in the log.
  return {
    ...run,
    execution: { ...run.execution, nodes },
    calls: without(run.calls, node.id),
    waits: without(run.waits, node.id),
  };
}

/** @param {Run} run @param {{node: string, attempt: number, offset: number, text: string, tokens?: Tokens,
 *   waiting?: Waiting}} data @returns {Run} */
function applyDelta(run, { node, attempt, offset, text, tokens, waiting }) {
  textOf(run, node).add(attempt, { offset, text });
  const calls = tokens ? new Map(run.calls).set(node, tokens) : run.calls;
  const waits = waiting ? new Map(run.waits).set(node, waiting) : without(run.waits, node);
  return calls === run.calls && waits === run.waits ? run : { ...run, calls, waits };
}

/** @param {Run} run @returns {number} tokens in the log and of open calls together */
export function tokensSoFar({ execution, calls }) {
  let total = execution?.tokens?.total ?? 0;
  for (const tokens of calls.values()) total += tokens.total;
  return total;
}

/** @template T @param {Map<string, T>} map @param {string} key @returns {Map<string, T>} the same one, if it is not in */
function without(map, key) {
  if (!map.has(key)) return map;
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}

/** @param {Run} run @param {string} node @returns {NodeText} */
function textOf(run, node) {
  const known = run.texts.get(node);
  if (known) return known;
  const fresh = new NodeText();
  run.texts.set(node, fresh);
  return fresh;
}

/** Items stand behind their for_each, in the order of their numbers. @param {RunNode[]} nodes @param {string} id */
function placeOf(nodes, id) {
  const { parent, number } = partsOf(id);
  let place = nodes.length;
  nodes.forEach((node, index) => {
    const other = partsOf(node.id);
    if (node.id === parent || (parent && other.parent === parent && other.number < number)) place = index + 1;
  });
  return place;
}

/** @param {string} id @returns {{parent: string | null, number: number}} of "parts/3": "parts" and 3 */
export function partsOf(id) {
  const slash = id.lastIndexOf("/");
  if (slash < 0) return { parent: null, number: 0 };
  return { parent: id.slice(0, slash), number: Number(id.slice(slash + 1)) };
}

/** @param {RunNode} node @returns {string} what people read: its name, of an item also its number from 1 */
export function nodeLabel({ id, name }) {
  if (!name) return id;
  const { parent, number } = partsOf(id);
  return parent === null ? name : `${name} ${number + 1}`;
}
