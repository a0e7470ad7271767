/** The figures that are shown, as a CSV file of the gateway. The key can not travel in a plain link. */
import { useSignal } from "./vendor/signals.js";
import { request } from "./api.js";
import { fileName, save } from "./download_buttons.js";
import { html } from "./html.js";
import { ProblemBox } from "./problem_box.js";

/** @param {{path: string}} props of the JSON that is shown */
export function CsvButton({ path }) {
  const problem = useSignal(/** @type {any} */ (null));
  const download = async () => {
    problem.value = null;
    try {
      const response = await request(path, { headers: { Accept: "text/csv" } });
      save(await response.blob(), fileName(response.headers.get("Content-Disposition") ?? "", "csv"));
    } catch (error) {
      problem.value = error;
    }
  };
  return html`<button type="button" class="quiet" onClick=${download}>Download as CSV</button>
    <${ProblemBox} problem=${problem.value} />`;
}
