// The queries that were run in this browser, newest first.

export interface Past {
  query: string
  range: string
  at: number
  rows: number
  ms: number
  failed?: string
}

const key = "hubscope.history"
const most = 100

export class History {
  changed: () => void = () => undefined

  list(): Past[] {
    try {
      const list: unknown = JSON.parse(localStorage.getItem(key) ?? "[]")
      return Array.isArray(list) ? (list as Past[]).filter((p) => typeof p?.query === "string") : []
    } catch {
      return []
    }
  }

  // add puts a query in front; the same one is not kept twice.
  add(past: Past): void {
    const list = this.list().filter((p) => p.query !== past.query || p.range !== past.range)
    this.store([past, ...list].slice(0, most))
  }

  clear(): void {
    this.store([])
  }

  private store(list: Past[]): void {
    try {
      localStorage.setItem(key, JSON.stringify(list))
    } catch {
      // full, or not allowed: there is no history then
    }
    this.changed()
  }
}
