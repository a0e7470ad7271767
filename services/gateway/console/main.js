/** Entry of the console: the clock, the session, and the page. */
import { render } from "./vendor/preact.js";
import { App } from "./app.js";
import { startClock } from "./clock.js";
import { credential } from "./credentials.js";
import { html } from "./html.js";
import { loadMe } from "./session.js";

startClock();
if (credential.value !== null) void loadMe();
const place = /** @type {HTMLElement} */ (document.getElementById("app"));
place.replaceChildren();
render(html`<${App} />`, place);
