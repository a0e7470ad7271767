/** How each engine fared in the period that the page shows: runs, success rate, mean tokens and duration. No cost. */
import { getJson } from "./api.js";
import { engineLabels } from "./engine_labels.js";
import { whole } from "./format.js";
import { html } from "./html.js";
import { usePolling } from "./polling.js";
import { ProblemBox } from "./problem_box.js";
import { Certainty } from "./signs.js";

/** @typedef {{engine: {id: string, name: string}, runs: number, completed: number, stopped: number, failed: number,
 *   success_rate: number, mean_tokens: number, mean_duration_seconds: number | null, certainty: string}} Insight */

const EVERY_MS = 10_000;
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const SECONDS = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

/** @param {{path: () => string, period: string}} props `path` of the insights, asked anew each time */
export function UsageInsights({ path, period }) {
  const found = usePolling((signal) => getJson(path(), { signal }), EVERY_MS, [period]);
  /** @type {Insight[] | undefined} */
  const items = found.value?.items;
  const labels = engineLabels((items ?? []).map(({ engine }) => engine));
  return html`<section class="card" aria-labelledby="insights-title">
    <h2 id="insights-title">Performance of your engines</h2>
    <${ProblemBox} problem=${found.problem} retry=${found.again} />
    ${!items && !found.problem && html`<p class="muted">Loading…</p>`}
    ${items?.length === 0 && html`<p class="empty">No run ended in ${period}.</p>`}
    ${items && items.length > 0 && html`<div class="scroll" role="region" aria-label="Table of engines" tabindex="0"><table>
      <thead><tr><th scope="col">Engine</th><th scope="col" class="number">Runs</th>
        <th scope="col" class="number">Success rate</th><th scope="col" class="number detail">Stopped</th>
        <th scope="col" class="number detail">Failed</th><th scope="col" class="number">Mean tokens</th>
        <th scope="col" class="number">Mean duration</th></tr></thead>
      <tbody>${items.map((item, index) => html`<${Row} key=${item.engine.id} item=${item} name=${labels[index]} />`)}</tbody></table></div>`}
  </section>`;
}

/** @param {{item: Insight, name: string}} props */
function Row({ item, name }) {
  const seconds = item.mean_duration_seconds;
  return html`<tr><th scope="row">${name}</th>
    <td class="number">${whole(item.runs)}</td>
    <td class="number" title=${`${item.completed} of ${item.runs} completed`}>${PERCENT.format(item.success_rate)}</td>
    <td class="number detail">${whole(item.stopped)}</td><td class="number detail">${whole(item.failed)}</td>
    <td class="number"><${Certainty} tokens=${item} text=${whole(Math.round(item.mean_tokens))} /></td>
    <td class="number">${seconds == null ? "–" : `${SECONDS.format(seconds)} s`}</td></tr>`;
}
