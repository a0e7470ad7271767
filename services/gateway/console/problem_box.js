/** How a refusal by the gateway is shown: its own words, and a way on. */
import { html } from "./html.js";

/** @param {{problem: {message: string} | null, title?: string, retry?: () => void}} props */
export function ProblemBox({ problem, title, retry }) {
  if (!problem) return null;
  return html`<div class="notice bad" role="alert">
    <p>${title && html`<strong>${title} </strong>`}${problem.message}</p>
    ${retry && html`<button type="button" class="quiet" onClick=${retry}>Try again</button>`}
  </div>`;
}
