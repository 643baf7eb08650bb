// The console in plain: the same API, no editor. It needs no build.
const $ = (id) => document.getElementById(id)
const numbers = new Set(["int", "long", "real", "decimal"])
const maxRows = 1000
let running = null

$("form").addEventListener("submit", (event) => {
  event.preventDefault()
  run()
})
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)) {
    event.preventDefault()
    run()
  }
})
$("cancel").addEventListener("click", () => running?.abort())

async function run() {
  running?.abort()
  const mine = (running = new AbortController())
  $("cancel").disabled = false
  $("error").hidden = true
  $("result").replaceChildren()
  $("status").textContent = "running"
  const query = $("query").value
  try {
    const body = { query, maxRows }
    const minutes = Number($("range").value)
    if (minutes > 0) {
      body.start = new Date(Date.now() - minutes * 60_000).toISOString()
      body.end = new Date().toISOString()
    }
    const headers = { "Content-Type": "application/json", Accept: "application/json" }
    const token = $("token").value
    if (token) headers.Authorization = "Bearer " + token
    const response = await fetch("api/v1/query", { method: "POST", headers, body: JSON.stringify(body), signal: mine.signal })
    if (response.status === 401) $("auth").hidden = false
    const answer = parse(await response.text())
    if (answer.rows) show(answer)
    for (const error of answer.errors ?? (answer.error ? [answer.error] : [])) fail(error, query)
    if (!answer.rows) $("status").textContent = ""
  } catch (error) {
    $("status").textContent = ""
    if (mine.signal.aborted) $("status").textContent = "cancelled"
    else fail({ code: "Network", message: "the query service does not answer" }, query)
  } finally {
    if (running === mine) {
      running = null
      $("cancel").disabled = true
    }
  }
}

// parse keeps the digits of integers that a JavaScript number cannot hold.
function parse(text) {
  const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
  return JSON.parse(text.replace(tokens, (t) => (/^-?\d{16,}$/.test(t) && !Number.isSafeInteger(Number(t)) ? `"${t}"` : t)))
}

const rows = (n) => n.toLocaleString("en") + (n === 1 ? " row" : " rows")

function show(answer) {
  const table = document.createElement("table")
  const head = table.createTHead().insertRow()
  for (const column of answer.columns) {
    const th = document.createElement("th")
    th.scope = "col"
    th.textContent = column.name
    th.title = column.type
    head.append(th)
  }
  const body = table.createTBody()
  for (const row of answer.rows) {
    const tr = body.insertRow()
    row.forEach((cell, i) => {
      const td = tr.insertCell()
      td.textContent = cell === null ? "" : typeof cell === "object" ? JSON.stringify(cell) : String(cell)
      td.title = td.textContent
      if (numbers.has(answer.columns[i].type)) td.className = "number"
    })
  }
  $("result").append(table)
  const stats = answer.stats
  $("status").textContent =
    `${rows(answer.rows.length)} in ${Math.round(stats.elapsedMs)} ms; ${rows(stats.readRows)} read, ${stats.readBytes.toLocaleString("en")} bytes` +
    (answer.truncated ? `. Cut at ${rows(answer.rows.length)}: there are more.` : "") +
    (answer.notices ?? []).map((n) => ` Note: ${n}.`).join("")
}

// fail shows an error as the command line does, with a caret.
function fail(error, query) {
  let text = `error ${error.code}: ${error.message}`
  if (error.line) {
    const line = query.split("\n")[error.line - 1] ?? ""
    const lead = [...line].slice(0, error.column - 1).map((c) => (c === "\t" ? "\t" : " ")).join("")
    text += `\n  ${line}\n  ${lead}${"^".repeat(error.length)}${error.hint ? " " + error.hint : ""}`
  } else if (error.hint) text += `\n  ${error.hint}`
  $("error").textContent = $("error").hidden ? text : $("error").textContent + "\n\n" + text
  $("error").hidden = false
}
