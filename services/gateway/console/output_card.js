/** The output as the gateway keeps it: final, or partial and labelled so. */
import { useEffect } from "./vendor/preact_hooks.js";
import { useSignal } from "./vendor/signals.js";
import { CopyButton } from "./copy_button.js";
import { DownloadButtons } from "./download_buttons.js";
import { html } from "./html.js";
import { ProblemBox } from "./problem_box.js";
import { ReadingView } from "./reading_view.js";
import { ENDS } from "./run_fold.js";

/** @param {{stream: import("./run_stream.js").RunStream, execution: import("./types.js").Execution,
 *   follower: import("./following.js").Follower}} props */
export function OutputCard({ stream, execution, follower }) {
  const text = stream.output.value;
  const formatted = useSignal(false);
  useEffect(() => {
    if (text !== null && !stream.wasOver.value) follower.finish();
  }, [text === null]);
  if (!ENDS.has(execution.status)) return null;
  const partial = execution.status !== "completed";
  const title = partial ? "Partial output" : "Output";
  return html`<section class="card output" aria-labelledby="output-title" data-output=${partial ? "partial" : "final"}>
    <div class="output-head">
      <h2 id="output-title">${title}</h2>
      ${text && html`<div class="buttons">
        ${stream.formats.value.includes("html") && html`<button type="button" class="quiet"
          aria-pressed=${formatted.value ? "true" : "false"}
          onClick=${() => (formatted.value = !formatted.value)}>Formatted</button>`}
        <${CopyButton} text=${() => text} what="the output" /></div>`}
    </div>
    ${text && html`<${DownloadButtons} id=${execution.id} formats=${stream.formats.value} />`}
    ${partial && text && html`<p class="hint">The run ended before it was done. This is all that it had written.</p>`}
    <${ProblemBox} problem=${stream.outputProblem.value} retry=${() => stream.loadOutput()} />
    ${text === null && !stream.outputProblem.value && html`<p class="muted">Loading…</p>`}
    ${text === "" && html`<p class="empty">Nothing was written.</p>`}
    ${text && (formatted.value ? html`<${ReadingView} id=${execution.id} />`
      : html`<div class="text" data-output-text dir="auto">${text}</div>`)}
  </section>`;
}
