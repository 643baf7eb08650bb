// A query and its time range as a link. They stand in the fragment, which
// browsers send to no server.

import { read, write, type Range } from "./range"

export interface Linked {
  query: string
  range?: Range
  run: boolean
}

export function toFragment(query: string, range: Range, run: boolean): string {
  const list = new URLSearchParams({ query, range: write(range) })
  if (run) list.set("run", "1")
  return "#" + list.toString()
}

export function fromFragment(fragment: string): Linked | undefined {
  const list = new URLSearchParams(fragment.replace(/^#/, ""))
  const query = list.get("query")
  if (query === null) return undefined
  const range = read(list.get("range"))
  return { query, run: list.get("run") === "1", ...(range && { range }) }
}
