/** How numbers, times and durations are written. Pure, except for the browser's language and zone. */

const WHOLE = new Intl.NumberFormat();
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY_AND_CLOCK = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
});
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** @param {number | null | undefined} value */
export function whole(value) {
  return value == null ? "–" : WHOLE.format(value);
}

/** @param {string | null | undefined} timestamp RFC 3339 @returns {number} ms since 1970 with fractions, or NaN */
export function instant(timestamp) {
  if (!timestamp) return NaN;
  const fraction = /\.(\d+)/.exec(timestamp);
  const rest = fraction ? Number(`0.${fraction[1]}`) * 1000 : 0;
  return Date.parse(timestamp.replace(/\.\d+/, "")) + rest;
}

/** @param {string | null | undefined} timestamp "14:03:05" */
export function clockTime(timestamp) {
  const at = instant(timestamp);
  return Number.isNaN(at) ? "–" : CLOCK.format(at);
}

/** @param {string | null | undefined} timestamp "14:03:05.123" */
export function clockTimeMs(timestamp) {
  const at = instant(timestamp);
  if (Number.isNaN(at)) return "–";
  return `${CLOCK.format(at)}.${String(Math.floor(at % 1000)).padStart(3, "0")}`;
}

/** @param {string | null | undefined} timestamp "4 May, 14:03" */
export function dayTime(timestamp) {
  const at = instant(timestamp);
  return Number.isNaN(at) ? "–" : DAY_AND_CLOCK.format(at);
}

/** @param {string | null | undefined} timestamp for a tip */
export function fullTime(timestamp) {
  const at = instant(timestamp);
  return Number.isNaN(at) ? "" : FULL.format(at);
}

/** @param {string | null | undefined} from @param {string | null | undefined} to "6.4 ms", or "–" */
export function millisecondsBetween(from, to) {
  const difference = instant(to) - instant(from);
  if (Number.isNaN(difference)) return "–";
  return Math.abs(difference) < 10 ? `${difference.toFixed(1)} ms` : `${WHOLE.format(Math.round(difference))} ms`;
}

/** @param {number} seconds "about 12 s", "about 25 min" */
export function roughly(seconds) {
  if (seconds < 1) return "less than 1 s";
  if (seconds < 90) return `about ${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `about ${Math.round(seconds / 60)} min`;
  return `about ${whole(Math.round(seconds / 3600))} h`;
}

/** @param {number} ms "0:07", "12:05", "3:00:09" */
export function stopwatch(ms) {
  if (Number.isNaN(ms)) return "–";
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${pad(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(seconds % 60)}`;
}

/** @param {number | null | undefined} seconds "42 s", "5 min", "3 h 20 min", "2 d 4 h" */
export function longDuration(seconds) {
  if (seconds == null) return "–";
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** @param {number | null | undefined} bytes in binary units: "118 MiB" */
export function memory(bytes) {
  if (bytes == null) return "–";
  const mebibytes = bytes / 2 ** 20;
  return mebibytes < 1024 ? `${mebibytes.toFixed(0)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}

/** @param {string} id the part that differs between ids made close together */
export function shortId(id) {
  return id.length > 12 ? `…${id.slice(-8)}` : id;
}
