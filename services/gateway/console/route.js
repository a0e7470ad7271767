/** Which page the URL's hash names. */
import { signal } from "./vendor/signals.js";

/** @typedef {{page: "runs" | "usage" | "workers" | "none"} | {page: "run", id: string}} Route */

/** @param {string} hash @returns {Route} */
export function readRoute(hash) {
  const [page, id] = hash.replace(/^#\/?/, "").split("/");
  if (page === "run" && id) return { page, id: decodeURIComponent(id) };
  if (page === "usage" || page === "workers") return { page };
  return { page: page === "" ? "runs" : "none" };
}

/** @param {string} id */
export function runLink(id) {
  return `#/run/${encodeURIComponent(id)}`;
}

export const route = signal(readRoute(location.hash));

window.addEventListener("hashchange", () => {
  route.value = readRoute(location.hash);
  window.scrollTo(0, 0);
});
