/** The latest runs from the ledger, also those that were cleaned up since. */
import { useSignal } from "./vendor/signals.js";
import { getJson } from "./api.js";
import { dayTime, fullTime, whole } from "./format.js";
import { html } from "./html.js";
import { usePolling } from "./polling.js";
import { ProblemBox } from "./problem_box.js";
import { runLink } from "./route.js";
import { Certainty } from "./signs.js";

const LIMITS = [5, 10, 50, 100];
const EVERY_MS = 5000;

/** @type {Record<string, string>} */
const KINDS = { included: "Included", payg: "PAYG", mixed: "Mixed", none: "None" };

export function UsageExecutions() {
  const limit = useSignal(10);
  const path = `/v1/usage/executions?limit=${limit.value}`;
  const recent = usePolling((signal) => getJson(path, { signal }), EVERY_MS, [path]);
  /** @type {any[] | undefined} */
  const items = recent.value?.items;
  return html`<section class="card" aria-labelledby="executions-title">
    <div class="section-head"><h2 id="executions-title">Recent executions</h2>
      <label class="inline">Show <select value=${String(limit.value)}
        onChange=${(/** @type {any} */ event) => (limit.value = Number(event.target.value))}>
        ${LIMITS.map((value) => html`<option key=${value} value=${String(value)}>${value}</option>`)}</select></label></div>
    <${ProblemBox} problem=${recent.problem} retry=${recent.again} />
    ${!items && !recent.problem && html`<p class="muted">Loading…</p>`}
    ${items?.length === 0 && html`<p class="empty">Nothing has been used yet. Runs appear here once they have ended,
      however they ended.</p>`}
    ${items && items.length > 0 && html`<div class="scroll" role="region" aria-label="Table of recent executions"
      tabindex="0"><table class="recent">
      <thead><tr><th scope="col">Ended</th><th scope="col">Engine</th><th scope="col">Kind</th>
        <th scope="col" class="number detail">Input</th><th scope="col" class="number detail">Output</th>
        <th scope="col" class="number detail">Thoughts</th><th scope="col" class="number">Total tokens</th></tr></thead>
      <tbody>${items.map((item) => html`<${Row} key=${item.id} item=${item} />`)}</tbody>
    </table></div>`}
  </section>`;
}

/** @param {{item: any}} props */
function Row({ item }) {
  const { tokens } = item;
  return html`<tr>
    <td title=${fullTime(item.ended_at)}>${dayTime(item.ended_at)}</td>
    <td><a href=${runLink(item.id)}>${item.engine.name}</a></td>
    <td>${KINDS[item.kind] ?? item.kind}</td>
    <td class="number detail">${whole(tokens.input)}</td><td class="number detail">${whole(tokens.output)}</td>
    <td class="number detail">${whole(tokens.thoughts)}</td>
    <td class="number strong"><${Certainty} tokens=${tokens} text=${whole(tokens.total)} /></td>
  </tr>`;
}
