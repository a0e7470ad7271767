/** From the gateway's usage buckets to the bars and rows of the page. Pure but for the browser's zone. */
import { engineLabels } from "./engine_labels.js";
import { instant } from "./format.js";

/** @typedef {import("./types.js").Tokens} Tokens */
/** @typedef {{bucket: string, engine_id: string, engine_name: string, tokens: Tokens}} UsageItem of group_by=engine */
/** @typedef {{start: number, group: string, tokens: Tokens}} Bucket */
/** @typedef {{start: number, parts: {group: string, total: number}[], total: number}} Bar */
/** @typedef {"24h" | "7d" | "30d"} Range */

const HOUR_MS = 3_600_000;
const MOST_GROUPS = 6;
export const OTHERS = "Others";

/** @type {Record<Range, {name: string, bucket: "hour" | "day", bars: number}>} */
export const RANGES = {
  "24h": { name: "24 hours", bucket: "hour", bars: 24 },
  "7d": { name: "7 days", bucket: "hour", bars: 168 },
  "30d": { name: "30 days", bucket: "day", bars: 30 },
};

/** The starts of the bars, oldest first, in the browser's zone. @param {Range} range @param {number} now */
export function barStarts(range, now) {
  const { bucket, bars } = RANGES[range];
  const last = new Date(now);
  if (bucket === "hour") {
    last.setMinutes(0, 0, 0);
    return Array.from({ length: bars }, (_, index) => last.getTime() - (bars - 1 - index) * HOUR_MS);
  }
  last.setHours(0, 0, 0, 0);
  return Array.from({ length: bars }, (_, index) => {
    const day = new Date(last);
    day.setDate(day.getDate() - (bars - 1 - index));
    return day.getTime();
  });
}

/** @param {UsageItem[]} items @returns {Bucket[]} */
export function readBuckets(items) {
  const labels = engineLabels(items.map(({ engine_id: id, engine_name: name }) => ({ id, name })));
  return items.map(({ bucket, tokens }, index) => ({ start: instant(bucket), group: labels[index], tokens }));
}

/** Groups by what they used, most first; those beyond the first few are shown as one. @param {Bucket[]} buckets */
export function groupsOf(buckets) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { group, tokens } of buckets) sums.set(group, (sums.get(group) ?? 0) + tokens.total);
  const names = [...sums].sort((one, other) => other[1] - one[1]).map(([name]) => name);
  return names.length > MOST_GROUPS ? [...names.slice(0, MOST_GROUPS - 1), OTHERS] : names;
}

/** @param {Bucket[]} buckets @param {string[]} groups @param {number[]} starts @returns {Bar[]} one for each start */
export function barsOf(buckets, groups, starts) {
  const sums = starts.map(() => new Map(groups.map((group) => [group, 0])));
  for (const { start, group, tokens } of buckets) {
    const index = starts.findLastIndex((from) => from <= start);
    if (index < 0) continue;
    const shown = groups.includes(group) ? group : OTHERS;
    sums[index].set(shown, (sums[index].get(shown) ?? 0) + tokens.total);
  }
  return starts.map((start, index) => {
    const parts = groups.map((group) => ({ group, total: sums[index].get(group) ?? 0 }));
    return { start, parts, total: parts.reduce((sum, { total }) => sum + total, 0) };
  });
}

/** The next of 1, 2, 5, 10, 20, ... for the top of the scale. @param {number} most */
export function roundUp(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= most) ?? 10;
  return step * power;
}

/** @param {Bucket[]} buckets @returns {{start: number, group: string, tokens: Tokens}[]} newest first, for the table */
export function rowsOf(buckets) {
  return [...buckets].sort((one, other) => other.start - one.start || one.group.localeCompare(other.group));
}
