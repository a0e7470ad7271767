/** Small signs that carry a state by shape, always beside its word. */
import { html } from "./html.js";

/** @type {Record<string, string>} paths in a box of 16 */
const SHAPES = {
  waiting: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11",
  going: "M8 2.5a5.5 5.5 0 1 1-5.5 5.5",
  done: "M3 8.5l3.2 3.2L13 5",
  halted: "M4.5 4.5h7v7h-7z",
  failed: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  paused: "M5.5 4v8M10.5 4v8",
};

/** @type {Record<string, [shape: string, tone: string, word: string]>} */
const STATES = {
  queued: ["waiting", "calm", "Queued"],
  pending: ["waiting", "calm", "Waiting"],
  unreached: ["waiting", "calm", "Not reached"],
  running: ["going", "active", "Running"],
  stopping: ["going", "warn", "Stopping…"],
  completed: ["done", "good", "Completed"],
  stopped: ["halted", "warn", "Stopped"],
  failed: ["failed", "bad", "Failed"],
  interrupted: ["halted", "warn", "Interrupted"],
  starting: ["going", "active", "Starting"],
  ready: ["done", "good", "Ready"],
  draining: ["going", "warn", "Draining"],
  paused: ["paused", "warn", "Paused"],
  gone: ["failed", "calm", "Gone"],
};

/** @param {string} state @returns {string} */
export function stateWord(state) {
  return STATES[state]?.[2] ?? state;
}

/** @param {{state: string, plain?: boolean}} props `plain` leaves the badge's background out */
export function State({ state, plain = false }) {
  const [shape, tone, word] = STATES[state] ?? ["waiting", "calm", state];
  return html`<span class="state ${tone} ${plain ? "plain" : ""}" data-state=${state}>
    <svg viewBox="0 0 16 16" aria-hidden="true" class=${shape}><path d=${SHAPES[shape]} /></svg>${word}
  </span>`;
}

/** @param {{tokens: import("./types.js").Tokens | null | undefined, text: string}} props */
export function Certainty({ tokens, text }) {
  if (!tokens || tokens.certainty === "measured") return text;
  const word = tokens.certainty === "estimated" ? "estimated" : "part unknown";
  return html`<span class="doubtful">${text} <span class="certainty">${word}</span></span>`;
}
