/** What to call engines of which several have the same name. Pure. */

/**
 * @param {{id: string, name: string}[]} engines
 * @returns {string[]} each one's name, with its id where another has the same name
 */
export function engineLabels(engines) {
  /** @type {Map<string, Set<string>>} */
  const ids = new Map();
  for (const { id, name } of engines) ids.set(name, (ids.get(name) ?? new Set()).add(id));
  return engines.map(({ id, name }) => ((ids.get(name)?.size ?? 0) > 1 ? `${name} (${id})` : name));
}
