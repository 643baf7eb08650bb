// The console: one page on the query service's own API.

import "uplot/dist/uPlot.min.css"
import "./main.css"
import { API, Failed, type Ask, type Cell, type Column, type Problem, type Render, type Stats } from "./api"
import { bytes, count, csv, duration, json } from "./cells"
import { Chart } from "./chart"
import { Detail } from "./detail"
import { askToken, showHelp } from "./dialogs"
import { copy, find, h, icon, save, toast } from "./dom"
import { blocks, Editor, moved, type Part } from "./editor"
import { History } from "./history"
import { arrange, closeSide } from "./layout"
import { fromFragment, toFragment } from "./link"
import { Parameters } from "./parameters"
import { showProblems } from "./problems"
import { bounds, RangePicker, read, write } from "./range"
import { kindOf } from "./shape"
import { SchemaTree, showHistory, showSamples, tabs } from "./side"
import { Grid } from "./table"

const firstQuery = `// Who breaks when TLS 1.0, 1.1 and weak ciphers are turned off?
Devices
| where WouldFailStrict
| summarize Devices = count(), LastSeen = max(LastSeen) by StrictReason
| order by Devices desc`

interface Result {
  ask: Ask
  columns: Column[]
  rows: Cell[][]
  render: Render | undefined
}

interface Run {
  id: string
  stop: AbortController
  begin: number
  progress: Stats | undefined
  cancelled: boolean
}

const api = new API(askToken)
const history = new History()
let result: Result = { ask: { query: "" }, columns: [], rows: [], render: undefined }
let running: Run | undefined

// --- the parts of the page

const editor = new Editor({ changed: edited, moved: showCursor, run: () => void run() })
const range = new RangePicker(() => {
  remember()
  void check()
})
const parameters = new Parameters(find<HTMLFormElement>("parameters"), checkSoon, () => void run())
const grid = new Grid((row, place) => detail.show(result.columns, row, place))
const detail = new Detail({
  filter: (condition) => {
    editor.text = editor.text.trimEnd() + `\n| where ${condition}`
    void run()
  },
  step: (by) => grid.step(by),
})
const chart = new Chart()
const side = {
  insert(text: string) {
    closeSide()
    editor.insert(text)
  },
  open(query: string, span: string | undefined, now: boolean) {
    closeSide()
    editor.text = query
    const other = read(span ?? null)
    if (other) range.set(other)
    // On a phone the keyboard would cover the result.
    if (!now) editor.focus()
    if (now) void run()
  },
}
const tree = new SchemaTree(find("pane-schema"), side)

let shownTab = "tab-table"
const selectTab = tabs(find("result-tabs"), (id) => {
  shownTab = id
  if (id === "tab-chart") void chart.draw()
  if (id === "tab-plan") void explain(true)
})

// --- the query as it is written

function edited(): void {
  showCursor()
  parameters.show(editor.text)
  checkSoon()
}

function checkSoon(): void {
  remember()
  clearTimeout(checking)
  checking = setTimeout(() => void check(), 250)
}

function showCursor(): void {
  const [line, column] = editor.cursor()
  find("cursor").textContent = `Ln ${line}, Col ${column}`
}

// remember keeps the query in the address of the page.
function remember(): void {
  clearTimeout(remembering)
  remembering = setTimeout(() => window.history.replaceState(null, "", fragment(false)), 200)
}

function fragment(runs: boolean): string {
  return toFragment(editor.text, range.value, parameters.of(editor.text).parameters ?? {}, runs)
}

let checking = 0
let remembering = 0
let asked: AbortController | undefined

// check has the service judge the text: as one query or, when it is none, each
// part between empty lines.
async function check(): Promise<void> {
  asked?.abort()
  const mine = (asked = new AbortController())
  const text = editor.text
  const verdict = find("verdict")
  if (text.trim() === "") {
    verdict.textContent = ""
    verdict.className = "verdict"
    editor.mark(text, [])
    return
  }
  try {
    const problems = await judge(text, mine.signal)
    if (mine.signal.aborted) return
    editor.mark(text, problems)
    verdict.className = problems.length > 0 ? "verdict bad" : "verdict good"
    verdict.textContent = problems.length === 0 ? "valid" : problems.length === 1 ? (problems[0]?.message ?? "") : `${problems.length} errors: ${problems[0]?.message}`
    verdict.title = verdict.textContent
  } catch {
    if (!mine.signal.aborted) verdict.textContent = ""
  }
}

async function judge(text: string, signal: AbortSignal): Promise<Problem[]> {
  const limits = bounds(range.value, api.now())
  const whole = await api.validate({ query: text, ...limits, ...parameters.of(text) }, signal)
  const parts = blocks(text)
  if (whole.length === 0 || parts.length < 2 || parts.length > 30) return whole
  const each = await Promise.all(parts.map(async (part) => moved(text, part, onlyComments(part.text) ? [] : await api.validate({ query: part.text, ...limits, ...parameters.of(part.text) }, signal))))
  return each.flat()
}

function onlyComments(text: string): boolean {
  return text.split("\n").every((line) => /^\s*(\/\/.*)?$/.test(line))
}

// target is what is to run: the selection, the text if it is one query, or
// else the part at the cursor.
async function target(): Promise<Part> {
  const selected = editor.selected()
  if (selected) return selected
  const whole = { text: editor.text, start: 0 }
  if (blocks(whole.text).length < 2) return whole
  const problems = await api.validate({ query: whole.text, ...parameters.of(whole.text) })
  return problems.length === 0 ? whole : (editor.block() ?? whole)
}

// --- running it

async function run(): Promise<void> {
  if (running) await cancel()
  const mine: Run = { id: "console-" + randomID(), stop: new AbortController(), begin: performance.now(), progress: undefined, cancelled: false }
  running = mine
  const text = editor.text
  let part: Part = { text, start: 0 }
  showProblems(find("problems"), text, [], goto)
  banner("")
  busy(mine)
  const next: Result = { ask: { query: text }, columns: [], rows: [], render: undefined }
  let failed: string | undefined
  try {
    part = await target()
    if (part.text.trim() === "") {
      failed = "empty"
      showProblems(find("problems"), text, [{ code: "Empty", message: "there is no query" }], goto)
      return
    }
    next.ask = { query: part.text, ...bounds(range.value, api.now()), ...parameters.of(part.text) }
    let grown = 0
    const done = await api.query(
      { ...next.ask, id: mine.id },
      {
        columns(columns) {
          next.columns = columns
          take(next)
          grid.show(columns, next.rows)
        },
        rows(rows) {
          for (const row of rows) next.rows.push(row)
          grown ||= requestAnimationFrame(() => {
            grown = 0
            if (result === next) grid.grown()
          })
        },
        progress(stats) {
          mine.progress = stats
        },
      },
      mine.stop.signal,
    )
    cancelAnimationFrame(grown)
    next.render = done.render
    if (result === next) grid.grown()
    const ms = performance.now() - mine.begin
    stats(next, done.stats, ms)
    const notes = done.notices ?? []
    if (done.truncated) notes.push(`Cut at ${next.rows.length.toLocaleString("en")} rows: the result is not complete. Summarize, filter or take fewer.`)
    banner(notes.join(" · "))
    history.add({ query: part.text, range: write(range.value), at: Date.now(), rows: next.rows.length, ms })
    chart.show(next.columns, next.rows, next.render)
    const kind = next.render && kindOf(next.render.visualization)
    if (next.render) selectTab(kind === "table" ? "tab-table" : "tab-chart")
    else if (shownTab === "tab-chart") selectTab(next.columns.length > 1 ? "tab-chart" : "tab-table")
    if (shownTab === "tab-plan") void explain(true)
    else void explain(false)
    // The service was away, or there was no token, when these were asked for.
    if (!loaded) void load()
    if (find("verdict").textContent === "") void check()
  } catch (error) {
    if (result === next) grid.grown()
    const problems = error instanceof Failed ? error.problems : [{ code: "Console", message: String(error) }]
    const some = next.rows.length > 0 ? ` The ${next.rows.length.toLocaleString("en")} rows below are not all.` : ""
    if (mine.cancelled || mine.stop.signal.aborted) {
      failed = "cancelled"
      find("stats").textContent = `Cancelled after ${duration(performance.now() - mine.begin)}.`
      if (some) banner("Cancelled." + some)
    } else {
      failed = problems[0]?.message ?? "failed"
      showProblems(find("problems"), editor.text === text ? text : part.text, editor.text === text ? moved(text, part, problems) : problems, goto)
      find("stats").textContent = ""
      if (some) banner("The query failed on its way." + some)
      if (result !== next) clear()
    }
    history.add({ query: part.text, range: write(range.value), at: Date.now(), rows: next.rows.length, ms: performance.now() - mine.begin, failed })
    chart.show(next.columns, next.rows, next.render)
  } finally {
    if (running === mine) {
      running = undefined
      busy(undefined)
    }
  }
}

// take makes a result the one that is shown.
function take(next: Result): void {
  result = next
  explained = undefined
  detail.element.hidden = true
  find("pane-plan").replaceChildren()
  find("stats").replaceChildren()
}

function clear(): void {
  take({ ask: { query: "" }, columns: [], rows: [], render: undefined })
  grid.show([], [])
}

// cancel ends the query in the engine, and then the request.
async function cancel(): Promise<void> {
  const mine = running
  if (!mine || mine.cancelled) return
  mine.cancelled = true
  find("cancel").setAttribute("disabled", "")
  // The service answers the request when the engine has let go of the query.
  const patience = setTimeout(() => mine.stop.abort(), 3000)
  await api.cancel(mine.id).catch(() => mine.stop.abort())
  while (running === mine) await new Promise((resolve) => setTimeout(resolve, 20))
  clearTimeout(patience)
}

// busy shows that a query runs, and what it has read.
function busy(mine: Run | undefined): void {
  clearInterval(ticking)
  const cancelButton = find<HTMLButtonElement>("cancel")
  const bar = find("progress")
  cancelButton.disabled = false
  cancelButton.hidden = mine === undefined
  find("run").hidden = mine !== undefined
  find("csv").toggleAttribute("disabled", mine !== undefined || result.columns.length === 0)
  find("json").toggleAttribute("disabled", mine !== undefined || result.columns.length === 0)
  find("token").hidden = !api.hasToken
  document.body.dataset["state"] = mine ? "running" : "idle"
  bar.hidden = mine === undefined
  if (!mine) return
  const tick = () => {
    const p = mine.progress
    const total = p?.totalRows ?? 0
    bar.classList.toggle("known", total > 0)
    ;(bar.firstElementChild as HTMLElement).style.width = total > 0 ? `${Math.min(100, (100 * (p?.readRows ?? 0)) / total)}%` : ""
    const ms = performance.now() - mine.begin
    if (ms < 150) return
    find("stats").textContent = duration(Math.round(ms / 100) * 100) + (p ? ` · read ${count(p.readRows)}${total > 0 ? ` of ${count(total)}` : ""} rows, ${bytes(p.readBytes)}` : "")
  }
  ticking = setInterval(tick, 100)
  tick()
}

let ticking = 0

function randomID(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("")
}

function goto(line: number, column: number): void {
  editor.goto(line, column)
}

function banner(text: string): void {
  find("banner").hidden = text === ""
  find("banner").textContent = text
}

function stats(r: Result, s: Stats, ms: number): void {
  const item = (text: string, title = "") => h("span", { title }, text)
  find("stats").replaceChildren(
    item(`${r.rows.length.toLocaleString("en")} ${r.rows.length === 1 ? "row" : "rows"}`),
    " · ",
    item(duration(s.elapsedMs), `${duration(ms)} until all was here, ${s.elapsedMs} ms in the engine, ${s.compileMs} ms to compile`),
    " · ",
    item(`read ${count(s.readRows)} ${s.readRows === 1 ? "row" : "rows"}, ${bytes(s.readBytes)}`, `peak memory ${bytes(s.memoryBytes)}`),
    h("span", { id: "source" }),
  )
}

let explained: Ask | undefined

// explain asks which tables answered, and shows the plan if it is wanted.
async function explain(show: boolean): Promise<void> {
  const of = result
  const pane = find("pane-plan")
  if (of.ask.query.trim() === "") {
    pane.replaceChildren(h("p", { class: "empty" }, "Run a query to see how it is answered."))
    return
  }
  if (explained === of.ask && (!show || pane.childElementCount > 0)) return
  explained = of.ask
  try {
    const e = await api.explain(of.ask)
    if (result !== of) return
    const from = e.tables.join(", ") || "no table"
    const source = document.getElementById("source")
    if (source) {
      source.textContent = e.rollup ? ` · from rollup ${e.rollup}` : ` · from ${from}`
      source.title = e.rollup ? "Answered from a rollup, with the same result" : e.rollupWhyNot ? `No rollup: ${e.rollupWhyNot}` : ""
    }
    const field = (name: string, value: string) => h("div", {}, h("dt", {}, name), h("dd", {}, value))
    const text = (name: string, value: string) =>
      h("section", {}, h("header", {}, h("h2", {}, name), h("button", { type: "button", class: "tool", title: `Copy ${name}`, "aria-label": `Copy ${name}`, onclick: () => void copy(value).then(() => toast(`${name} copied`)) }, icon("copy"))), h("pre", {}, value))
    pane.replaceChildren(
      h("dl", { class: "facts" }, field("Tables", from), field("Rollup", e.rollup || `none: ${e.rollupWhyNot || "no table with one is read"}`), field("Rows to read", `about ${count(e.estimatedRows)}`)),
      text("Plan", e.plan.trimEnd()),
      text("SQL", e.sql),
    )
  } catch (error) {
    if (result !== of) return
    explained = undefined
    pane.replaceChildren(h("p", { class: "empty" }, error instanceof Failed ? error.message : String(error)))
  }
}

// --- putting it together

function named(id: string, iconName: string, text: string): HTMLElement {
  const element = find(id)
  element.append(icon(iconName), h("span", {}, text))
  return element
}

function fileName(ext: string): string {
  return `hubscope-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${ext}`
}

function begin(): void {
  named("run", "run", "Run").addEventListener("click", () => void run())
  named("cancel", "stop", "Cancel").addEventListener("click", () => void cancel())
  named("format", "format", "Format").addEventListener("click", () => editor.format())
  named("share", "share", "Share").addEventListener("click", () => {
    const link = location.href.replace(/#.*$/, "") + fragment(true)
    void copy(link).then(() => toast("Link copied"))
  })
  named("csv", "download", "CSV").addEventListener("click", () => save(fileName("csv"), "text/csv;charset=utf-8", csv(result.columns, grid.sorted())))
  named("json", "download", "JSON").addEventListener("click", () => save(fileName("json"), "application/json", json(result.columns, grid.sorted())))
  named("tab-table", "table", "Table")
  named("tab-chart", "chart", "Chart")
  named("tab-plan", "plan", "Plan")
  find("help").append(icon("help"))
  find("help").addEventListener("click", showHelp)
  find("token").append(icon("key"))
  find("token").addEventListener("click", () => {
    api.forgetToken()
    find("token").hidden = true
    toast("Token forgotten")
  })
  find("pane-table").append(grid.element, detail.element)
  find("pane-chart").append(chart.element)
  showSamples(find("pane-samples"), side)
  showHistory(find("pane-history"), history, side)
  tabs(find("side-tabs"), () => undefined)
  arrange(() => {
    if (shownTab === "tab-chart") void chart.draw()
  })
  addEventListener("keydown", (event) => {
    const shortcut = event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)
    if (shortcut && !event.defaultPrevented && !event.altKey && !find<HTMLDialogElement>("dialog").open) {
      event.preventDefault()
      void run()
    }
    if (event.key === "Escape" && running && !event.defaultPrevented) void cancel()
  })
  addEventListener("hashchange", openLink)
}

// openLink takes the query of the address; it says whether it is to be run.
function openLink(): boolean {
  const link = fromFragment(location.hash)
  if (!link) return false
  parameters.set(link.parameters)
  if (link.query !== editor.text) editor.text = link.query
  if (link.range) range.set(link.range)
  parameters.show(editor.text)
  if (link.run) remember()
  return link.run
}

// saved is the query that was run last, for a page that is opened without one.
function saved(): string {
  return history.list()[0]?.query ?? firstQuery
}

// loaded says that the schema is there; a run that succeeds tries again.
let loaded = false

async function load(): Promise<void> {
  try {
    const [schema, functions] = await Promise.all([api.schema(), api.functions()])
    loaded = true
    find("token").hidden = !api.hasToken
    tree.show(schema)
    await editor.complete(schema, functions)
  } catch (error) {
    tree.failed(error instanceof Failed ? error.message : "The schema could not be loaded.")
    if (!(error instanceof Failed)) console.warn(error)
  }
}

// painted runs what would hold up the first paint. A page that is not in sight is
// not painted.
function painted(then: () => void): void {
  let waiting = true
  const once = () => {
    if (!waiting) return
    waiting = false
    observer.disconnect()
    then()
  }
  const observer = new PerformanceObserver(once)
  observer.observe({ type: "paint", buffered: true })
  setTimeout(once, 300)
}

begin()
busy(undefined)
const runNow = openLink()
if (fromFragment(location.hash) === undefined) editor.text = saved()
void load()
// Monaco is big: the page is painted first.
painted(() => {
  void editor.upgrade().then(() => (document.body.dataset["editor"] = "ready"))
  if (runNow) void run()
})
