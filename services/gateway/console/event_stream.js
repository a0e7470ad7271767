/**
 * Server-sent events over fetch(), since EventSource can not send the key. Reconnects by itself and resumes with
 * Last-Event-ID. A tab that is hidden for long gives its connection back (a browser allows six to an origin) and
 * resumes where it was when it is shown again.
 */
import { Problem, request } from "./api.js";

/** @typedef {{id: string | null, event: string, data: string}} ServerEvent */
/** @typedef {"connecting" | "live" | "reconnecting"} Link */

// The gateway pings an idle stream every 15 s; three of them missing mean a dead connection.
const SILENCE_MS = 45_000;
const HIDDEN_MS = 60_000;
const DELAYS_MS = [200, 500, 1000, 2000, 5000, 10_000];

/**
 * Follows a stream until `onEvent` returns true or `signal` is aborted. Raises Problem when the gateway refuses.
 *
 * @param {string} path
 * @param {{onEvent: (event: ServerEvent) => boolean, onLink: (link: Link) => void, signal: AbortSignal}} options
 */
export async function followEvents(path, { onEvent, onLink, signal }) {
  /** @type {string | null} */
  let lastId = null;
  let failures = 0;
  const seen = (/** @type {ServerEvent} */ event) => {
    failures = 0;
    if (event.id !== null) lastId = event.id;
    return onEvent(event);
  };
  onLink("connecting");
  while (!signal.aborted) {
    try {
      if (await readOneConnection(path, lastId, seen, () => onLink("live"), signal)) return;
    } catch (error) {
      if (error instanceof Problem && isFinal(error)) throw error;
    }
    if (signal.aborted) return;
    onLink("reconnecting");
    await untilVisible(signal);
    await pause(DELAYS_MS[Math.min(failures, DELAYS_MS.length - 1)], signal);
    failures += 1;
  }
}

/** @param {Problem} problem */
function isFinal({ status }) {
  return status >= 400 && status < 500 && status !== 429 && status !== 408;
}

/**
 * @param {string} path
 * @param {string | null} lastId
 * @param {(event: ServerEvent) => boolean} onEvent
 * @param {() => void} onOpen
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether `onEvent` said that it was the last one
 */
async function readOneConnection(path, lastId, onEvent, onOpen, signal) {
  const connection = new AbortController();
  const cut = () => connection.abort();
  signal.addEventListener("abort", cut, { once: true });
  const leave = onHiddenFor(HIDDEN_MS, cut);
  let silence = setTimeout(cut, SILENCE_MS);
  try {
    const headers = { Accept: "text/event-stream", ...(lastId === null ? {} : { "Last-Event-ID": lastId }) };
    const response = await request(path, { headers, signal: connection.signal });
    onOpen();
    const parser = new EventParser();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      clearTimeout(silence);
      silence = setTimeout(cut, SILENCE_MS);
      for (const event of parser.feed(decoder.decode(value, { stream: true }))) {
        if (onEvent(event)) return true;
      }
    }
  } finally {
    clearTimeout(silence);
    leave();
    signal.removeEventListener("abort", cut);
    connection.abort();
  }
}

/** The line format of server-sent events (WHATWG HTML, 9.2.6), fed with pieces cut anywhere. */
export class EventParser {
  #rest = "";
  /** @type {string | null} */
  #id = null;
  #event = "";
  /** @type {string[]} */
  #data = [];

  /** @param {string} chunk @returns {ServerEvent[]} the events that it completes */
  feed(chunk) {
    const lines = (this.#rest + chunk).split(/\r\n|\n|\r(?!$)/);
    this.#rest = /** @type {string} */ (lines.pop());
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") this.#id = value;
    else if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    return null;
  }

  #dispatch() {
    const event = { id: this.#id, event: this.#event || "message", data: this.#data.join("\n") };
    const complete = this.#data.length > 0;
    this.#event = "";
    this.#data = [];
    return complete ? event : null;
  }
}

/** @param {number} ms @param {() => void} callback @returns {() => void} takes it back */
function onHiddenFor(ms, callback) {
  /** @type {number | undefined} */
  let timer;
  const changed = () => {
    clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(callback, ms);
  };
  changed();
  document.addEventListener("visibilitychange", changed);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", changed);
  };
}

/** @param {AbortSignal} signal @returns {Promise<void>} */
function untilVisible(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

/** Ends early when the network is back. @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
