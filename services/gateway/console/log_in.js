/** The log-in page: one key, and a plain answer when it is refused. */
import { useEffect, useRef } from "./vendor/preact_hooks.js";
import { useSignal } from "./vendor/signals.js";
import { refusal } from "./credentials.js";
import { html } from "./html.js";
import { faultOf, logIn } from "./session.js";

export function LogIn() {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const fault = useSignal(/** @type {string | null} */ (null));
  const shown = useSignal(false);
  useEffect(() => field.current?.focus(), []);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const typed = field.current?.value.trim() ?? "";
    fault.value = faultOf(typed);
    refusal.value = null;
    if (fault.value === null) void logIn(typed);
    else field.current?.focus();
  };
  const problem = fault.value ?? (refusal.value && `The key was not accepted. ${refusal.value}`);
  return html`<main class="alone">
    <form class="card log-in" onSubmit=${submit} novalidate>
      <h1><img src="/console/icon.svg" alt="" width="36" height="36" />Lekhika</h1>
      <p class="muted">Runs multi-step AI workflows, and shows every word and token as they come.</p>
      <div class="field">
        <label for="key">API key</label>
        <div class="joined">
          <input id="key" ref=${field} type=${shown.value ? "text" : "password"} name="key" placeholder="lk_…"
            autocomplete="off" autocapitalize="off" spellcheck="false" aria-invalid=${problem ? "true" : undefined}
            aria-describedby=${problem ? "key-problem key-hint" : "key-hint"} />
          <button type="button" class="quiet" aria-pressed=${String(shown.value)} aria-label="Show the key"
            onClick=${() => (shown.value = !shown.value)}>${shown.value ? "Hide" : "Show"}</button>
        </div>
        ${problem && html`<p id="key-problem" class="field-problem" role="alert">${problem}</p>`}
        <p id="key-hint" class="hint">Kept in this tab until you close it. On a local stack it is in${" "}
          <code>credentials.json</code> in the stack's home.</p>
      </div>
      <button class="primary" type="submit">Log in</button>
    </form>
  </main>`;
}
