/** The output as a file. The gateway makes it and names it; the key can not travel in a plain link. */
import { useState } from "./vendor/preact_hooks.js";
import { request } from "./api.js";
import { html } from "./html.js";
import { ProblemBox } from "./problem_box.js";

const NAMES = { md: "Markdown", html: "HTML", epub: "EPUB", docx: "DOCX", json: "JSON" };

/** @param {{id: string, formats: string[]}} props `formats` are those that the gateway has of this output. */
export function DownloadButtons({ id, formats }) {
  const prose = formats.includes("md");
  const offered = Object.entries(NAMES).filter(([form]) => formats.includes(form) && !(prose && form === "json"));
  const [making, setMaking] = useState("");
  const [problem, setProblem] = useState(null);
  /** @param {string} form */
  const download = async (form) => {
    setMaking(form);
    setProblem(null);
    try {
      const response = await request(`/v1/executions/${id}/output?format=${form}`);
      save(await response.blob(), fileName(response.headers.get("Content-Disposition") ?? "", form));
    } catch (error) {
      setProblem(error);
    } finally {
      setMaking("");
    }
  };
  return html`<div class="downloads" role="group" aria-label="Download the output">
      <span class="muted" aria-hidden="true">Download</span>
      ${offered.map(([form, name]) => html`<button type="button" class="quiet" key=${form} disabled=${making !== ""}
        aria-label=${`Download as ${name}`} onClick=${() => download(form)}>
        ${making === form ? "Making…" : name}</button>`)}
    </div>
    <${ProblemBox} problem=${problem} />`;
}

/** @param {string} header of RFC 6266 @param {string} form */
export function fileName(header, form) {
  const full = /filename\*=UTF-8''([^;\s]+)/.exec(header);
  if (full) return decodeURIComponent(full[1]);
  return /filename="([^"]+)"/.exec(header)?.[1] ?? `output.${form}`;
}

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
