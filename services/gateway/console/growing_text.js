/** Text that grows at its end without disturbing a selection in it. */
import { useLayoutEffect, useRef } from "./vendor/preact_hooks.js";
import { html } from "./html.js";

/**
 * @param {{node: string, content: import("./text_assembly.js").NodeText, frame: number, writing: boolean,
 *   structured: boolean, onGrown: (writing: HTMLElement) => void}} props
 */
export function GrowingText({ node, content, frame, writing, structured, onGrown }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const shown = useRef({ revision: -1, units: 0 });
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    if (shown.current.revision !== content.revision) element.replaceChildren(document.createTextNode(""));
    const from = shown.current.revision === content.revision ? shown.current.units : 0;
    // appendData keeps a selection; setting the text would drop it.
    /** @type {Text} */ (element.firstChild).appendData(content.text.slice(from));
    shown.current = { revision: content.revision, units: content.text.length };
    if (writing && content.text.length > from) onGrown(element);
  }, [frame, content]);
  const look = `text ${structured ? "structured" : ""} ${writing ? "writing" : ""}`;
  return html`<div ref=${place} class=${look} data-node=${node} dir="auto"></div>`;
}
