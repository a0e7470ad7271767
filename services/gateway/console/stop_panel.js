/** Stopping, told as it is: asked, heard, closed; "Stopped" only when the log says so. */
import { now } from "./clock.js";
import { clockTimeMs, instant, millisecondsBetween } from "./format.js";
import { html } from "./html.js";
import { ENDS } from "./run_fold.js";
import { me } from "./session.js";

/** @typedef {import("./types.js").Execution} Execution */
/** @typedef {import("./stop_request.js").StopRequest} StopRequest */

const PATIENCE_MS = 10_000;

/** @param {{execution: Execution, request: StopRequest}} props */
export function StopButton({ execution, request }) {
  const open = execution.status === "queued" || execution.status === "running";
  if (!open || request.askedAt.value !== null) return null;
  return html`<button type="button" class="danger" onClick=${() => request.stop()}>
    <svg viewBox="0 0 16 16" aria-hidden="true"><rect x="4" y="4" width="8" height="8" rx="1" /></svg>Stop</button>`;
}

/** What is under way, from the click to the end in the log. @param {{execution: Execution, request: StopRequest}} props */
export function StopProgress({ execution, request }) {
  const problem = request.problem.value;
  if (ENDS.has(execution.status) || !(problem || isStopping(execution, request))) return null;
  return html`<div class="stop-progress">
    ${isStopping(execution, request) && html`<${Stopping} execution=${execution} request=${request} />`}
    ${problem && html`<div class="notice bad" role="alert">
      <p><strong>The stop was not taken.</strong> ${problem.message}</p></div>`}
  </div>`;
}

/** From the click on, before the gateway has answered. @param {Execution} execution @param {StopRequest} request */
export function isStopping(execution, request) {
  const { status } = execution;
  return status === "stopping" || (request.askedAt.value !== null && (status === "queued" || status === "running"));
}

/** @param {{execution: Execution, request: StopRequest}} props */
function Stopping({ execution, request }) {
  const { stop } = execution;
  const asked = stop ? instant(stop.at) : (request.askedAt.value ?? now.value);
  const waited = now.value - asked;
  return html`<div class="notice warn stop-panel">
    <p><strong>Stopping…</strong> ${" "}asked by ${stop ? whoOf(stop.by) : "you"} at
      ${" "}<span class="number">${clockTimeMs(new Date(asked).toISOString())}</span>${reasonOf(stop)}.</p>
    ${waited >= PATIENCE_MS && html`<div class="force">
      <p>The worker has not answered for <span class="number">${Math.floor(waited / 1000)} s</span>. A forced stop ends
        the run without it; tokens are then estimated from what had arrived.</p>
      <button type="button" class="danger" aria-disabled=${request.forcedAt.value !== null ? "true" : undefined}
        onClick=${() => request.force()}>${request.forcedAt.value !== null ? "Forcing…" : "Force stop"}</button>
    </div>`}
  </div>`;
}

/** @param {{execution: Execution}} props */
export function StopTimes({ execution }) {
  const { stop, status } = execution;
  if (status !== "stopped" || !stop) return null;
  return html`<div class="notice plain stop-panel">
    <p>Stopped by ${whoOf(stop.by)}${reasonOf(stop)}. What was written up to then is kept below.</p>
    <ol class="stop-times" aria-label="Times of the stop">
      <li><span>Asked</span><b class="number">${clockTimeMs(stop.at)}</b></li>
      ${stop.heard_at && html`<li><span>Heard by the worker</span>
        <b class="number">+ ${millisecondsBetween(stop.at, stop.heard_at)}</b></li>`}
      ${stop.closed_at && html`<li><span>Socket closed</span>
        <b class="number">+ ${millisecondsBetween(stop.at, stop.closed_at)}</b></li>`}
      ${!stop.closed_at && html`<li><span>Ended in the log</span>
        <b class="number">+ ${millisecondsBetween(stop.at, execution.ended_at)}</b></li>`}
    </ol>
    ${!stop.heard_at && html`<p class="hint">${execution.started_at
      ? "No worker confirmed it; the run was ended without one."
      : "It had not started, so no model was called."}</p>`}
  </div>`;
}

/** @param {import("./types.js").Stop | null} stop */
function reasonOf(stop) {
  return stop?.reason ? ` (${stop.reason})` : "";
}

/** @param {string} by a user's id, or what stopped it */
function whoOf(by) {
  const person = me.value;
  return by === person?.user_id || by === person?.email ? "you" : by;
}
