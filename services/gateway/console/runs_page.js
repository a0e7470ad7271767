/** The first page: start a run, and the runs so far. */
import { getJson } from "./api.js";
import { now } from "./clock.js";
import { dayTime, fullTime, instant, stopwatch, whole } from "./format.js";
import { html } from "./html.js";
import { usePolling } from "./polling.js";
import { ProblemBox } from "./problem_box.js";
import { placeWords } from "./queue_place.js";
import { runLink } from "./route.js";
import { Certainty, State } from "./signs.js";
import { StartForm } from "./start_form.js";

/** @typedef {import("./types.js").Execution} Execution */

const SHOWN = 20;
const EVERY_MS = 3000;

export function RunsPage() {
  return html`<h1 class="hidden">Runs</h1>
    <div class="two-columns"><${StartForm} /><${RecentRuns} /></div>`;
}

function RecentRuns() {
  const runs = usePolling((signal) => getJson(`/v1/executions?limit=${SHOWN}`, { signal }), EVERY_MS, []);
  /** @type {Execution[] | undefined} */
  const items = runs.value?.items;
  return html`<section class="card" aria-labelledby="recent-title">
    <h2 id="recent-title">Recent runs</h2>
    <${ProblemBox} problem=${runs.problem} retry=${runs.again} />
    ${!items && !runs.problem && html`<p class="muted">Loading…</p>`}
    ${items?.length === 0 && html`<p class="empty">No run yet. What you start appears here, and stays for a day after
      it has ended; its usage stays for good.</p>`}
    ${items && items.length > 0 && html`<ul class="run-list">
      ${items.map((run) => html`<${RunLine} key=${run.id} run=${run} />`)}</ul>`}
  </section>`;
}

/** @param {{run: Execution}} props */
function RunLine({ run }) {
  return html`<li><a href=${runLink(run.id)}>
    <span class="run-name">${run.engine.name}</span>
    <${State} state=${run.status} />
    <span class="run-figures">
      <span title=${fullTime(run.created_at)}>${dayTime(run.created_at)}</span>
      <span>${run.queue ? placeWords(run.queue) : timeTaken(run)}</span>
      <span><${Certainty} tokens=${run.tokens} text=${`${whole(run.tokens?.total)} tokens`} /></span>
    </span>
  </a></li>`;
}

/** In the order of the form, which is the gateway's; the line is cut at its end. @param {Record<string, unknown>} input */
export function inputLine(input) {
  return Object.values(input).filter((value) => typeof value === "string" && value.trim() !== "").join(" · ");
}

/** @param {Execution} run */
function timeTaken(run) {
  if (!run.started_at) return run.ended_at ? "not started" : "waiting";
  return stopwatch((run.ended_at ? instant(run.ended_at) : now.value) - instant(run.started_at));
}
