/** Whether what is shown is what is happening. */
import { html } from "./html.js";

/** @type {Record<import("./run_stream.js").RunStream["link"]["value"], [word: string, tip: string]>} */
const LINKS = {
  connecting: ["Connecting", "Opening the event stream"],
  live: ["Live", "Events arrive as they happen"],
  reconnecting: ["Reconnecting", "The event stream was cut; it goes on where it was"],
  ended: ["Ended", "The run is over; nothing more will come"],
};

/** @param {{link: keyof typeof LINKS}} props */
export function LinkPill({ link }) {
  const [word, tip] = LINKS[link];
  return html`<span class="pill ${link}" title=${tip} data-link=${link}>${word}</span>`;
}
