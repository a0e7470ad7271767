/** Token usage: bars by engine, the same figures as a table and as CSV, insights, and the latest runs from the ledger. */
import { useSignal } from "./vendor/signals.js";
import { getJson } from "./api.js";
import { now } from "./clock.js";
import { ZONE, clockTime, whole } from "./format.js";
import { html } from "./html.js";
import { usePolling } from "./polling.js";
import { ProblemBox } from "./problem_box.js";
import { Certainty } from "./signs.js";
import { RANGES, barStarts, barsOf, groupsOf, readBuckets, rowsOf } from "./usage_buckets.js";
import { UsageChart, bucketName } from "./usage_chart.js";
import { CsvButton } from "./usage_csv.js";
import { UsageExecutions } from "./usage_executions.js";
import { UsageInsights } from "./usage_insights.js";

/** @typedef {import("./usage_buckets.js").Range} Range */
/** @typedef {import("./types.js").Tokens} Tokens */

const EVERY_MS = 10_000;

/** @type {[name: string, field: "input" | "cached" | "output" | "thoughts" | "tool"][]} */
const FIGURES = [["Input", "input"], ["Cached", "cached"], ["Output", "output"], ["Thoughts", "thoughts"], ["Tools", "tool"]];

export function UsagePage() {
  const range = useSignal(/** @type {Range} */ ("24h"));
  const usage = usePolling((signal) => getJson(usagePath(range.value), { signal }), EVERY_MS, [range.value]);
  return html`<div class="page-head"><h1>Token usage</h1>
      <div class="choices" role="group" aria-label="Period">
        ${/** @type {Range[]} */ (Object.keys(RANGES)).map((name) => html`<button type="button" key=${name}
          aria-pressed=${String(range.value === name)} onClick=${() => (range.value = name)}>${RANGES[name].name}</button>`)}
      </div></div>
    <section class="card" aria-label="Usage by engine">
      <${ProblemBox} problem=${usage.problem} retry=${usage.again} />
      ${!usage.value && !usage.problem && html`<p class="muted">Loading…</p>`}
      ${usage.value && html`<${Period} answer=${usage.value} range=${range.value} />`}
    </section>
    <${UsageInsights} path=${() => insightsPath(range.value)} period=${`the last ${RANGES[range.value].name}`} />
    <${UsageExecutions} />`;
}

/** @param {Range} range */
function usagePath(range) {
  const from = new Date(barStarts(range, now.peek())[0]).toISOString();
  const query = { from, bucket: RANGES[range].bucket, group_by: "engine", timezone: ZONE };
  return `/v1/usage?${new URLSearchParams(query)}`;
}

/** @param {Range} range */
function insightsPath(range) {
  const from = new Date(barStarts(range, now.peek())[0]).toISOString();
  return `/v1/usage/insights?${new URLSearchParams({ from, timezone: ZONE })}`;
}

/** @param {{answer: any, range: Range}} props */
function Period({ answer, range }) {
  const buckets = readBuckets(answer.items);
  const groups = groupsOf(buckets);
  const bars = barsOf(buckets, groups, barStarts(range, now.peek()));
  const period = `the last ${RANGES[range].name}`;
  return html`<${Totals} totals=${answer.totals} />
    ${buckets.length === 0
      ? html`<p class="empty">No tokens were used in ${period}. A run's usage appears here a moment after it has ended.</p>`
      : html`<${UsageChart} bars=${bars} range=${range}
          label=${`Tokens in ${period}, by engine; the table below has the figures`} />
        <ul class="legend" aria-label="Engines">${groups.map((group, index) =>
          html`<li key=${group}><span class=${`swatch series-${index}`} aria-hidden="true"></span>${group}</li>`)}</ul>
        <${UsageTable} rows=${rowsOf(buckets)} range=${range} />`}
    ${buckets.length > 0 && html`<${CsvButton} path=${usagePath(range)} />`}
    <p class="hint as-of">Times in ${ZONE}. As of <span class="number">${clockTime(answer.as_of)}</span>${lagOf(answer)}</p>`;
}

/** @param {{lag_seconds: number | null}} answer */
function lagOf({ lag_seconds: lag }) {
  if (lag == null) return ".";
  return html`, <span class="number">${lag < 10 ? lag.toFixed(1) : Math.round(lag)} s</span> behind.`;
}

/** @param {{totals: Tokens}} props */
function Totals({ totals }) {
  const figures = FIGURES.map(([name, field]) => ({ name, value: totals[field] }));
  return html`<dl class="totals">
    <div class="lead"><dt>Tokens in all</dt>
      <dd class="number"><${Certainty} tokens=${totals} text=${whole(totals.total)} /></dd></div>
    ${figures.map(({ name, value }) => html`<div key=${name}><dt>${name}</dt><dd class="number">${whole(value)}</dd></div>`)}
  </dl>`;
}

/** @param {{rows: ReturnType<typeof rowsOf>, range: Range}} props */
function UsageTable({ rows, range }) {
  return html`<details class="figures"><summary>Figures by ${RANGES[range].bucket}</summary>
    <div class="scroll" role="region" aria-label="Usage figures" tabindex="0"><table>
      <thead><tr><th scope="col">${RANGES[range].bucket === "hour" ? "Hour from" : "Day"}</th><th scope="col">Engine</th>
        ${[...FIGURES, ["Total"]].map(([name]) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
      <tbody>${rows.map(({ start, group, tokens }) => html`<tr key=${`${start} ${group}`}>
        <td>${bucketName(start, range)}</td><td>${group}</td>
        ${FIGURES.map(([, field]) => html`<td class="number">${whole(tokens[field])}</td>`)}
        <td class="number strong"><${Certainty} tokens=${tokens} text=${whole(tokens.total)} /></td></tr>`)}</tbody>
    </table></div></details>`;
}
