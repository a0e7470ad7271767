/** Copies a text, and says whether that worked. */
import { useSignal } from "./vendor/signals.js";
import { html } from "./html.js";

/** @param {{text: () => string, what: string}} props `what` completes "Copy …" for those who do not see the place */
export function CopyButton({ text, what }) {
  const said = useSignal("");
  const copy = async () => {
    said.value = (await copyText(text())) ? "Copied" : "Could not copy";
  };
  return html`<button type="button" class="quiet" aria-label=${`Copy ${what}`} onClick=${copy}
      onBlur=${() => (said.value = "")}>${said.value || "Copy"}</button>
    <span class="hidden" role="status">${said.value}</span>`;
}

/** @param {string} text @returns {Promise<boolean>} */
async function copyText(text) {
  // The clipboard interface exists on secure origins only; a stack in a local network is none.
  if (!navigator.clipboard) return copyBySelection(text);
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
