/** The text of each node that has any, in the order of the nodes. */
import { useSignal } from "./vendor/signals.js";
import { CopyButton } from "./copy_button.js";
import { whole } from "./format.js";
import { html } from "./html.js";
import { ENDS, nodeLabel } from "./run_fold.js";
import { GrowingText } from "./growing_text.js";
import { State } from "./signs.js";

/** @param {string} id @returns {string} the section's element id */
export function sectionId(id) {
  return `text-of-${id}`;
}

/** Opens the text of a node, shows it and moves the focus there. @param {string} id */
export function showSection(id) {
  const section = document.getElementById(sectionId(id));
  if (!(section instanceof HTMLDetailsElement)) return;
  section.open = true;
  section.scrollIntoView({ block: "start" });
  section.querySelector("summary")?.focus({ preventScroll: true });
}

/** @param {{stream: import("./run_stream.js").RunStream, follower: import("./following.js").Follower}} props */
export function NodeTexts({ stream, follower }) {
  const frame = stream.frame.value;
  const { execution, texts } = stream.run.value;
  const written = (execution?.nodes ?? []).filter(({ id }) => (texts.get(id)?.length ?? 0) > 0);
  const over = ENDS.has(execution?.status ?? "");
  if (written.length === 0) return over ? null : html`<${Nothing} status=${execution?.status ?? ""} />`;
  return html`<section class="texts" aria-labelledby="texts-title">
    <div class="texts-head"><h2 id="texts-title">Text by step</h2>
      ${!over && html`<label class="follow"><input type="checkbox" checked=${follower.on.value}
        onChange=${(/** @type {any} */ event) => follower.set(event.target.checked)} />
        ${follower.on.value ? "Following the text" : "Follow the text"}</label>`}</div>
    ${written.map((node) => html`<${NodeText} key=${node.id} node=${node} content=${texts.get(node.id)} frame=${frame}
      opened=${!(stream.wasOver.value && node.status === "completed")} over=${over} onGrown=${follower.grown} />`)}
  </section>`;
}

/** @param {{node: import("./types.js").RunNode, content: import("./text_assembly.js").NodeText, frame: number,
 *   opened: boolean, over: boolean, onGrown: (writing: HTMLElement) => void}} props */
function NodeText({ node, content, frame, opened, over, onGrown }) {
  const open = useSignal(opened);
  const writing = node.status === "running" && !over;
  const partial = over && node.status !== "completed";
  const structured = /^\s*[{[]/.test(content.text);
  return html`<details id=${sectionId(node.id)} class="card text-card" open=${open.value}
      onToggle=${(/** @type {any} */ event) => (open.value = event.target.open)}>
    <summary>
      <h3>${nodeLabel(node)}</h3>
      ${partial ? html`<span class="label">Partial text</span>` : html`<${State} state=${node.status} plain=${true} />`}
      <span class="number muted">${whole(content.length)} characters</span>
    </summary>
    <${GrowingText} node=${node.id} content=${content} frame=${frame} writing=${writing} structured=${structured}
      onGrown=${onGrown} />
    ${content.hasGap && html`<p class="hint">A piece in the middle has not arrived yet; the rest waits for it.</p>`}
    <div class="card-foot"><${CopyButton} text=${() => content.text} what=${`the text of ${nodeLabel(node)}`} /></div>
  </details>`;
}

/** @param {{status: string}} props */
function Nothing({ status }) {
  return html`<div class="card empty-text"><p class="muted">${status === "queued"
    ? "Waiting for a worker. The text appears here as it is written."
    : "Nothing is written yet. The text appears here as it is written."}</p></div>`;
}
