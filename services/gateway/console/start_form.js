/** Pick an engine, fill its inputs, start a run. */
import { useEffect, useMemo, useRef } from "./vendor/preact_hooks.js";
import { signal, useSignal } from "./vendor/signals.js";
import { Problem, getItems, getJson } from "./api.js";
import { bodyOf, initialValues, inputsInOrder, keepEngine, keepValues, lastEngine, missingIn } from "./form_values.js";
import { html } from "./html.js";
import { InputField } from "./input_field.js";
import { ProblemBox } from "./problem_box.js";
import { runLink } from "./route.js";
import { me } from "./session.js";
import { answered, keyFor } from "./start_intent.js";

/** @typedef {import("./types.js").Engine} Engine */

export function StartForm() {
  const engines = useSignal(/** @type {Engine[] | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const chosen = useSignal(/** @type {string | null} */ (null));
  const userId = me.value?.user_id ?? "";
  const load = async () => {
    problem.value = null;
    try {
      engines.value = await getItems("/v1/engines");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
    }
  };
  useEffect(() => void load(), []);
  const list = engines.value ?? [];
  const wanted = chosen.value ?? lastEngine(userId);
  const engine = list.find(({ id }) => id === wanted) ?? list[0];
  return html`<section class="card start" aria-labelledby="start-title">
    <h2 id="start-title">Start a run</h2>
    <${ProblemBox} problem=${problem.value} retry=${load} />
    ${engines.value === null && !problem.value && html`<p class="muted">Loading engines…</p>`}
    ${engines.value?.length === 0 && html`<p class="empty">There is no engine yet. Store one with
      ${" "}<code>lekhika engine put</code>.</p>`}
    ${engine && html`
      <div class="field">
        <label for="engine">Engine</label>
        <select id="engine" value=${engine.id} onChange=${(/** @type {any} */ event) => (chosen.value = event.target.value)}>
          ${list.map(({ id, name }) => html`<option key=${id} value=${id}>${name}</option>`)}
        </select>
        ${engine.description && html`<p class="hint">${engine.description}</p>`}
      </div>
      <${EngineForm} key=${engine.id} engine=${engine} userId=${userId} />`}
  </section>`;
}

/** @param {{engine: Engine, userId: string}} props */
function EngineForm({ engine, userId }) {
  const start = useMemo(() => new Start(engine, userId), []);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const problem = start.problem.value;
  useEffect(() => {
    const wrong = /** @type {HTMLElement | null | undefined} */ (form.current?.querySelector("[aria-invalid]"));
    wrong?.focus();
  }, [problem]);
  const { beside, apart } = start.sortErrors();
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    void start.send();
  };
  return html`<form ref=${form} onSubmit=${submit} novalidate>
    ${inputsInOrder(engine.inputs).map(([name, input]) => html`<${InputField} key=${name} name=${name} input=${input}
      value=${start.typed.value[name]} problem=${beside.get(name)}
      onType=${(/** @type {string} */ value) => start.type(name, value)} />`)}
    ${problem && (beside.size === 0 || apart.length > 0) && html`<div class="notice bad" role="alert">
      <p>${problem.message}</p>
      ${apart.length > 0 && html`<ul>${apart.map(({ field, detail }) =>
        html`<li><code>${field}</code> ${detail}</li>`)}</ul>`}
    </div>`}
    <button class="primary wide" type="submit" aria-disabled=${start.sending.value ? "true" : undefined}>
      ${start.sending.value ? "Starting…" : "Start"}</button>
  </form>`;
}

/** One form's values and its way to the gateway. */
class Start {
  /** @param {Engine} engine @param {string} userId */
  constructor(engine, userId) {
    this.engine = engine;
    this.userId = userId;
    this.typed = signal(initialValues(userId, engine.id, engine.inputs));
    this.sending = signal(false);
    this.problem = signal(/** @type {Problem | null} */ (null));
  }

  /** @param {string} name @param {string} value */
  type(name, value) {
    this.typed.value = { ...this.typed.value, [name]: value };
    keepValues(this.userId, this.engine.id, this.typed.value);
  }

  async send() {
    if (this.sending.value) return;
    const body = { engine: this.engine.id, input: bodyOf(this.engine.inputs, this.typed.value) };
    const errors = missingIn(this.engine.inputs, body.input);
    this.problem.value = errors.length > 0 ? new Problem(0, { title: "Something is missing.", errors }) : null;
    if (this.problem.value) return;
    this.sending.value = true;
    keepEngine(this.userId, this.engine.id);
    const key = keyFor(JSON.stringify(body));
    try {
      const execution = await getJson("/v1/executions", { method: "POST", body, headers: { "Idempotency-Key": key } });
      answered(key);
      location.hash = runLink(execution.id);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status >= 400 && error.status < 500) answered(key);
      this.problem.value = error;
    } finally {
      this.sending.value = false;
    }
  }

  /** Field texts that stand beside an input of this form, and those that have no place there. */
  sortErrors() {
    /** @type {Map<string, string>} */
    const beside = new Map();
    /** @type {{field: string, detail: string}[]} */
    const apart = [];
    for (const error of this.problem.value?.errors ?? []) {
      const name = Object.keys(this.engine.inputs).find((input) => error.field.split(/[./[\]]/).includes(input));
      if (name && !beside.has(name)) beside.set(name, error.detail);
      else apart.push(error);
    }
    return { beside, apart };
  }
}
