/** The fleet, for superadmins: what each instance of each service is doing now. */
import { getJson } from "./api.js";
import { fullTime, longDuration, memory, shortId } from "./format.js";
import { html } from "./html.js";
import { usePolling } from "./polling.js";
import { ProblemBox } from "./problem_box.js";
import { runLink } from "./route.js";
import { State } from "./signs.js";

/** @typedef {import("./types.js").Worker} Worker */

const EVERY_MS = 2000;

export function WorkersPage() {
  const fleet = usePolling((signal) => getJson("/v1/admin/workers", { signal }), EVERY_MS, []);
  /** @type {Worker[]} */
  const items = fleet.value?.items ?? [];
  const present = items.filter(({ state }) => state !== "gone");
  const gone = items.filter(({ state }) => state === "gone");
  return html`<div class="page-head"><h1>Workers</h1></div>
    <${ProblemBox} problem=${fleet.problem} retry=${fleet.again} />
    ${!fleet.value && !fleet.problem && html`<p class="muted">Loading…</p>`}
    ${fleet.value && html`<section class="card" aria-labelledby="present-title">
      <h2 id="present-title">Present <span class="count number">${present.length}</span></h2>
      ${present.length === 0
        ? html`<p class="empty">No worker reports. Runs wait in the queue until an executor is up.</p>`
        : html`<${WorkerTable} workers=${present} name="Workers that report" />`}</section>`}
    ${gone.length > 0 && html`<section class="card gone" aria-labelledby="gone-title">
      <h2 id="gone-title">Gone <span class="count number">${gone.length}</span></h2>
      <p class="hint">Their heartbeat has ended. What they ran is taken over by others.</p>
      <${WorkerTable} workers=${gone} name="Workers that are gone" /></section>`}`;
}

/** @param {{workers: Worker[], name: string}} props */
function WorkerTable({ workers, name }) {
  const place = (/** @type {Worker} */ { service, id }) => `${service} ${id}`;
  const ordered = [...workers].sort((one, other) => place(one).localeCompare(place(other)));
  return html`<div class="scroll" role="region" aria-label=${name} tabindex="0"><table class="workers">
    <thead><tr><th scope="col">Service</th><th scope="col">State</th><th scope="col" class="number">Uptime</th>
      <th scope="col" class="number">Memory</th><th scope="col" class="number">CPU</th>
      <th scope="col" class="number">Slots</th><th scope="col">Executions</th><th scope="col">Version</th></tr></thead>
    <tbody>${ordered.map((worker) => html`<${WorkerRow} key=${worker.id} worker=${worker} />`)}</tbody>
  </table></div>`;
}

/** @param {{worker: Worker}} props */
function WorkerRow({ worker }) {
  const { executions, slots } = worker;
  return html`<tr data-worker=${worker.id}>
    <th scope="row">${worker.service}
      <span class="sub" title=${worker.id}>${shortId(worker.id)} on ${worker.host}, process ${worker.pid}</span></th>
    <td><${State} state=${worker.state} plain />
      ${worker.gone_seconds != null && html`<span class="sub">for ${longDuration(worker.gone_seconds)}</span>`}</td>
    <td class="number" title=${fullTime(worker.started_at)}>${longDuration(worker.uptime_seconds)}</td>
    <td class="number">${memory(worker.memory_bytes)}</td>
    <td class="number">${worker.cpu_percent == null ? "–" : `${Math.round(worker.cpu_percent)} %`}</td>
    <td class="number">${slots ? `${slots.used} of ${slots.total}` : "–"}</td>
    <td>${executions.length === 0 ? html`<span class="muted">none</span>` : html`<ul class="running">
      ${executions.map(({ id, node }) => html`<li key=${id}>
        <a href=${runLink(id)} title=${id}>${shortId(id)}</a>${node ? ` at ${node}` : ""}</li>`)}</ul>`}</td>
    <td>${worker.version}</td>
  </tr>`;
}
