/** The output as the gateway formats it, in a frame of no origin in which nothing runs and nothing is loaded. */
import { useEffect } from "./vendor/preact_hooks.js";
import { useSignal } from "./vendor/signals.js";
import { Problem, request } from "./api.js";
import { html } from "./html.js";
import { ProblemBox } from "./problem_box.js";

/** @param {{id: string}} props */
export function ReadingView({ id }) {
  const page = useSignal(/** @type {string | null} */ (null));
  const problem = useSignal(/** @type {Problem | null} */ (null));
  const load = async () => {
    problem.value = null;
    try {
      const response = await request(`/v1/executions/${encodeURIComponent(id)}/output?format=html`);
      page.value = bare(await response.text());
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.value = error;
    }
  };
  useEffect(() => void load(), [id]);
  if (page.value === null) return html`<${ProblemBox} problem=${problem.value} retry=${load} />
    ${!problem.value && html`<p class="muted" role="status">Formatting…</p>`}`;
  return html`<iframe class="reading" title="The formatted output" sandbox="" srcdoc=${page.value}></iframe>`;
}

/**
 * Without what the console's policy, which the frame inherits, would refuse: its own style, and addresses that lead out
 * of it. The contents go too, as their links would lead to the console.
 *
 * @param {string} text a page of HTML @returns {string}
 */
export function bare(text) {
  // Before it is parsed: the policy complains of styles even then. In texts all quotes and brackets are escaped.
  const plain = text.replace(/<style>.*?<\/style>/s, "").replace(/ style="text-align:(\w+)"/g, ' align="$1"');
  const page = new DOMParser().parseFromString(plain, "text/html");
  for (const element of page.querySelectorAll("meta[http-equiv], nav")) element.remove();
  for (const element of page.querySelectorAll("[href]")) element.removeAttribute("href");
  const scheme = page.createElement("meta");
  scheme.name = "color-scheme";
  scheme.content = "light dark";
  page.head.append(scheme);
  return page.documentElement.outerHTML;
}
