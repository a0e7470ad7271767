/** One labelled input of an engine, by its type, with its hint and what is wrong with it. */
import { whole } from "./format.js";
import { html } from "./html.js";

/** @typedef {import("./types.js").Input} Input */

/** @param {{name: string, input: Input, value: string, problem: string | undefined, onType: (value: string) => void}} props */
export function InputField({ name, input, value, problem, onType }) {
  const id = `input-${name}`;
  const label = input.title || name;
  const hint = hintOf(input);
  const described = [problem && `${id}-problem`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const common = {
    id,
    name,
    value,
    "aria-required": input.required ? "true" : undefined,
    "aria-invalid": problem ? "true" : undefined,
    "aria-describedby": described || undefined,
    onInput: (/** @type {any} */ event) => onType(event.target.value),
  };
  return html`<div class="field">
    <label for=${id}>${label}${input.required ? null : html` <span class="optional">optional</span>`}</label>
    ${control(input, common)}
    ${problem && html`<p id=${`${id}-problem`} class="field-problem">${sentence(`${label} ${problem}`)}</p>`}
    ${hint && html`<p id=${`${id}-hint`} class="hint">${hint}</p>`}
  </div>`;
}

/** @param {Input} input @param {Record<string, unknown>} common */
function control(input, common) {
  switch (input.type) {
    case "long_text":
      return html`<textarea rows="5" ...${common}></textarea>`;
    case "list":
      return html`<textarea rows="4" ...${common}></textarea>`;
    case "number":
      return html`<input type="text" inputmode="decimal" autocomplete="off" ...${common} />`;
    case "choice":
      return html`<select ...${common}>
        ${(!input.required || !common.value) && html`<option value="">–</option>`}
        ${(input.choices ?? []).map((choice) => html`<option key=${choice} value=${choice}>${choice}</option>`)}
      </select>`;
    default:
      return html`<input type="text" autocomplete="off" ...${common} />`;
  }
}

/** @param {string} text */
function sentence(text) {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** @param {Input} input */
export function hintOf(input) {
  const { minimum, maximum } = input;
  const description = input.description?.trim();
  const range =
    minimum != null && maximum != null ? `${whole(minimum)} to ${whole(maximum)}.`
    : minimum != null ? `At least ${whole(minimum)}.`
    : maximum != null ? `At most ${whole(maximum)}.`
    : "";
  const unit = input.type === "list" ? "items" : "characters";
  const most = input.max_length != null && `At most ${whole(input.max_length)} ${unit}.`;
  const parts = [description && sentence(description), range, input.type === "list" && "One item a line.", most];
  return parts.filter(Boolean).join(" ");
}
