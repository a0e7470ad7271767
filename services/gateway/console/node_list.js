/** Progress: every node with its state, model, tokens and attempts. */
import { whole } from "./format.js";
import { html } from "./html.js";
import { ENDS, nodeLabel, partsOf } from "./run_fold.js";
import { Certainty, State } from "./signs.js";
import { showSection } from "./node_texts.js";

/** @typedef {import("./types.js").RunNode} RunNode */

/** @type {Record<string, string>} what a wait is for, by its reason */
const WAITS_FOR = {
  quota: "quota",
  rate_limit: "its turn",
  overloaded: "an overloaded model",
  provider_unreachable: "the model's provider",
};

/** @param {import("./run_fold.js").Waiting} waiting @returns {string} */
function waitingWords({ reason, seconds }) {
  return `Waiting ${Math.ceil(seconds)} s for ${WAITS_FOR[reason] ?? reason}`;
}

/** @param {{stream: import("./run_stream.js").RunStream, follower: import("./following.js").Follower}} props */
export function NodeList({ stream, follower }) {
  const { execution, texts, calls, waits } = stream.run.value;
  const nodes = execution?.nodes ?? [];
  const over = ENDS.has(execution?.status ?? "");
  const done = nodes.filter(({ status }) => status === "completed").length;
  const go = (/** @type {string} */ id) => {
    follower.pause();
    showSection(id);
  };
  return html`<section class="nodes" aria-labelledby="nodes-title">
    <h2 id="nodes-title">Steps <span class="count number">${done} of ${nodes.length}</span></h2>
    <progress max=${Math.max(1, nodes.length)} value=${done} aria-label="Steps completed"></progress>
    <ul>${nodes.map((node) => html`<${NodeLine} key=${node.id} node=${node} over=${over}
      tokens=${calls.get(node.id) ?? node.tokens} waiting=${waits.get(node.id)}
      hasText=${(texts.get(node.id)?.length ?? 0) > 0} go=${go} />`)}</ul>
  </section>`;
}

/**
 * @param {{node: RunNode, over: boolean, tokens: import("./types.js").Tokens | null,
 *   waiting: import("./run_fold.js").Waiting | undefined, hasText: boolean, go: (id: string) => void}} props
 */
function NodeLine({ node, over, tokens, waiting, hasText, go }) {
  const isItem = partsOf(node.id).parent !== null;
  const total = tokens?.total;
  const label = nodeLabel(node);
  const certain = node.status !== "running";
  return html`<li class=${isItem ? "item" : ""} data-node-line=${node.id}>
    <span class="node-name" title=${node.id}>${hasText
      ? html`<button type="button" class="link" onClick=${() => go(node.id)}>${label}</button>` : label}</span>
    <${State} state=${over && node.status === "pending" ? "unreached" : node.status} plain />
    <span class="node-figures">
      ${node.model && html`<span class="node-model">${node.model}</span>`}
      ${total ? html`<span class="number"><${Certainty} tokens=${certain ? tokens : null}
        text=${`${whole(total)} tokens`} /></span>` : null}
      ${node.attempts > 1 && html`<span class="number">${node.attempts} attempts</span>`}
      ${waiting && html`<span class="waiting">${waitingWords(waiting)}</span>`}
    </span>
  </li>`;
}
