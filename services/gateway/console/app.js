/** The frame around every page: log-in, navigation, the stand-in notice. */
import { useEffect } from "./vendor/preact_hooks.js";
import { credential } from "./credentials.js";
import { html } from "./html.js";
import { LogIn } from "./log_in.js";
import { ProblemBox } from "./problem_box.js";
import { route } from "./route.js";
import { RunPage } from "./run_page.js";
import { RunsPage } from "./runs_page.js";
import { isSuperadmin, loadMe, logOut, me, meProblem } from "./session.js";
import { UsagePage } from "./usage_page.js";
import { WorkersPage } from "./workers_page.js";

const TITLES = { runs: "Runs", run: "Run", usage: "Usage", workers: "Workers", none: "No such page" };

export function App() {
  const { page } = route.value;
  useEffect(() => {
    document.title = `${TITLES[page]} · Lekhika`;
  }, [page]);
  if (credential.value === null) return html`<${LogIn} />`;
  if (me.value === null) return html`<${Entering} />`;
  return html`
    <a class="skip" href="#main" onClick=${skipToMain}>Skip to content</a>
    <${TopBar} page=${page} />
    ${me.value.provider === "stand-in" && html`<${StandInNotice} />`}
    <main id="main" tabindex="-1"><${Page} /></main>`;
}

/** The hash belongs to the routes, so the link moves the focus itself. @param {Event} event */
function skipToMain(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Page() {
  const at = route.value;
  switch (at.page) {
    case "run":
      return html`<${RunPage} key=${at.id} id=${at.id} />`;
    case "usage":
      return html`<${UsagePage} />`;
    case "workers":
      return html`<${WorkersPage} />`;
    case "none":
      return html`<${NoSuchPage} />`;
    default:
      return html`<${RunsPage} />`;
  }
}

function NoSuchPage() {
  return html`<section class="card">
    <h1>No such page</h1>
    <p>The address ends with <code>${location.hash}</code>, and there is no page of that name.</p>
    <p><a href="#/">To the runs</a></p>
  </section>`;
}

function Entering() {
  return html`<div class="alone">
    ${meProblem.value
      ? html`<${ProblemBox} problem=${meProblem.value} retry=${loadMe} />
          <button type="button" class="quiet" onClick=${logOut}>Log out</button>`
      : html`<p role="status" class="muted">Logging in…</p>`}
  </div>`;
}

/** @param {{page: string}} props */
function TopBar({ page }) {
  const person = me.value;
  const link = (/** @type {string} */ to, /** @type {string} */ name, /** @type {boolean} */ here) =>
    html`<a href="#/${to}" aria-current=${here ? "page" : undefined}>${name}</a>`;
  return html`<header class="top">
    <a class="brand" href="#/"><img src="/console/icon.svg" alt="" width="24" height="24" />Lekhika</a>
    <nav aria-label="Pages">
      ${link("", "Runs", page === "runs" || page === "run")} ${link("usage", "Usage", page === "usage")}
      ${isSuperadmin() && link("workers", "Workers", page === "workers")}
    </nav>
    <div class="person">
      <span class="who" title=${`User ID ${person?.user_id}`}>${person?.name || person?.email}</span>
      <button type="button" class="quiet" onClick=${logOut}>Log out</button>
    </div>
  </header>`;
}

function StandInNotice() {
  return html`<aside class="stand-in" aria-label="Which model answers"><p>
    <strong>Stand-in model.</strong> No Gemini key is set, so a local stand-in answers. Its text is made up; stops and
    token counts work as with the real one.
  </p></aside>`;
}
