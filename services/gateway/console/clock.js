/** The server's clock as this page knows it, and a tick once a second for timers. */
import { signal } from "./vendor/signals.js";

// The Date header has whole seconds; a smaller difference can not be told from its rounding.
const ROUNDING_MS = 2000;

let aheadMs = 0;

/** Milliseconds since 1970 by the server's clock; changes once a second while the page is visible. */
export const now = signal(Date.now());

/** @param {string | null} header the Date header of an answer */
export function noteServerTime(header) {
  const server = header ? Date.parse(header) : NaN;
  if (Number.isNaN(server)) return;
  const difference = server + 500 - Date.now();
  aheadMs = Math.abs(difference) < ROUNDING_MS ? 0 : difference;
}

/** Milliseconds since 1970 by the server's clock, at this moment. */
export function serverNow() {
  return Date.now() + aheadMs;
}

function tick() {
  now.value = serverNow();
}

/** Starts the tick; called once by the entry module. */
export function startClock() {
  tick();
  setInterval(() => document.hidden || tick(), 1000);
  document.addEventListener("visibilitychange", tick);
}
