/** One run: state, stop, progress per node, the text as it comes, and the output. */
import { useEffect, useMemo } from "./vendor/preact_hooks.js";
import { now } from "./clock.js";
import { dayTime, fullTime, instant, stopwatch, whole } from "./format.js";
import { Follower } from "./following.js";
import { html } from "./html.js";
import { LinkPill } from "./link_pill.js";
import { NodeList } from "./node_list.js";
import { NodeTexts } from "./node_texts.js";
import { OutputCard } from "./output_card.js";
import { ProblemBox } from "./problem_box.js";
import { placeWords, waitWords } from "./queue_place.js";
import { ENDS, tokensSoFar } from "./run_fold.js";
import { RunStream } from "./run_stream.js";
import { inputLine } from "./runs_page.js";
import { Certainty, State, stateWord } from "./signs.js";
import { StopButton, StopProgress, StopTimes, isStopping } from "./stop_panel.js";
import { StopRequest } from "./stop_request.js";

/** @typedef {import("./types.js").Execution} Execution */

/** @param {{id: string}} props */
export function RunPage({ id }) {
  const stream = useMemo(() => new RunStream(id), [id]);
  const request = useMemo(() => new StopRequest(stream), [stream]);
  const follower = useMemo(() => new Follower(), [stream]);
  useEffect(() => {
    void stream.open();
    follower.attach();
    return () => {
      follower.detach();
      stream.close();
    };
  }, [stream]);
  const { execution } = stream.run.value;
  if (!execution) return html`<${NotThere} stream=${stream} />`;
  return html`<article class="run" aria-label=${`Run of ${execution.engine.name}`}>
    <${RunHead} execution=${execution} stream=${stream} request=${request} />
    <div class="run-notes">
      <${ProblemBox} problem=${stream.problem.value} title="The live view ended." />
      <${StopTimes} execution=${execution} />
      <${Failure} execution=${execution} />
    </div>
    <div class="run-body">
      <${NodeList} stream=${stream} follower=${follower} />
      <div class="run-text">
        <${OutputCard} stream=${stream} execution=${execution} follower=${follower} />
        <${NodeTexts} stream=${stream} follower=${follower} />
      </div>
    </div>
  </article>`;
}

/** @param {{stream: RunStream}} props */
function NotThere({ stream }) {
  const problem = stream.problem.value;
  if (!problem) {
    const slow = stream.link.value === "reconnecting";
    const words = slow ? "The gateway can not be reached. Trying again…" : "Opening the run…";
    return html`<p class="muted" role="status">${words}</p>`;
  }
  const total = problem.body?.tokens?.total;
  return html`<section class="card">
    <h1>${problem.status === 410 ? "This run was cleaned up" : "This run can not be shown"}</h1>
    <p>${problem.message}</p>
    ${total != null && html`<p>It used <span class="number">${whole(total)}</span> tokens.</p>`}
    <p><a href="#/">Back to the runs</a></p>
  </section>`;
}

/** @param {{execution: Execution, stream: RunStream, request: StopRequest}} props */
function RunHead({ execution, stream, request }) {
  const state = isStopping(execution, request) ? "stopping" : execution.status;
  const over = ENDS.has(execution.status);
  const cut = stream.link.value === "reconnecting";
  return html`<header class="run-head">
    <div class="run-title">
      <h1>${execution.engine.name}</h1>
      <p class="run-input">${inputLine(execution.input)}</p>
    </div>
    <div class="run-state"><${State} state=${state} /><${LinkPill} link=${stream.link.value} /></div>
    <p class="hidden" role="status">${stateWord(state)}${cut ? ", reconnecting" : ""}</p>
    <dl class="facts">
      <div><dt>Time</dt><dd class="number"><${Elapsed} execution=${execution} /></dd></div>
      <div><dt>Tokens${over ? "" : " so far"}</dt><dd class="number">
        <${Certainty} tokens=${over ? execution.tokens : null} text=${whole(tokensSoFar(stream.run.value))} /></dd></div>
      <div class="wide-only"><dt>Requested</dt>
        <dd title=${fullTime(execution.created_at)}>${dayTime(execution.created_at)}</dd></div>
      ${execution.attempt > 1 && html`<div><dt>Attempt</dt><dd class="number">${execution.attempt}</dd></div>`}
    </dl>
    <div class="run-actions"><${StopButton} execution=${execution} request=${request} /></div>
    ${execution.queue && html`<p class="queue-place" data-queue>In the queue:
      ${" "}<b class="number">${placeWords(execution.queue)}</b>, ${waitWords(execution.queue)}</p>`}
    <${StopProgress} execution=${execution} request=${request} />
  </header>`;
}

/** @param {{execution: Execution}} props */
function Elapsed({ execution }) {
  const { started_at, ended_at, created_at } = execution;
  if (!started_at) return ended_at ? "–" : `${stopwatch(now.value - instant(created_at))} waiting`;
  return stopwatch((ended_at ? instant(ended_at) : now.value) - instant(started_at));
}

/** @param {{execution: Execution}} props */
function Failure({ execution }) {
  if (execution.status !== "failed" || !execution.error) return null;
  const { message, code, node } = execution.error;
  return html`<div class="notice bad" role="alert">
    <p><strong>Failed${node ? html` at <code>${node}</code>` : ""}.</strong> ${message}</p>
    <p class="hint">Code <code>${code}</code>. What was written up to then is kept below.</p>
  </div>`;
}
