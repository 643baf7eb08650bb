// A query, its time range and its parameters as a link. They stand in the fragment, which
// browsers send to no server.

import { read, write, type Range } from "./range"

export interface Linked {
  query: string
  range?: Range
  // parameters are the values of those that the query declares.
  parameters: Record<string, string>
  run: boolean
}

const parameter = "p."

export function toFragment(query: string, range: Range, parameters: Record<string, string>, run: boolean): string {
  const list = new URLSearchParams({ query, range: write(range) })
  for (const [name, value] of Object.entries(parameters)) list.set(parameter + name, value)
  if (run) list.set("run", "1")
  return "#" + list.toString()
}

export function fromFragment(fragment: string): Linked | undefined {
  const list = new URLSearchParams(fragment.replace(/^#/, ""))
  const query = list.get("query")
  if (query === null) return undefined
  const range = read(list.get("range"))
  const parameters = Object.fromEntries([...list].filter(([key]) => key.startsWith(parameter)).map(([key, value]) => [key.slice(parameter.length), value]))
  return { query, parameters, run: list.get("run") === "1", ...(range && { range }) }
}
