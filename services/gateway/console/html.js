/** `html` tagged templates that make Preact nodes: the one place that joins the two libraries. */
import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);
