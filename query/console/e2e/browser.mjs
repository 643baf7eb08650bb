// What the scripts here share: Debian's Chromium, and pages that note whatever
// should not happen.
import { chromium } from "playwright-core"

// patience is for machines with much else to do.
export const patience = 90_000

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"], timeout: patience })

export class Console {
  constructor(page, url) {
    this.page = page
    this.url = url
    // What should not happen: errors, failed requests, violations of the policy.
    this.wrong = []
    this.refusals = 0
  }

  static async open(browser, url, { hash = "", path = "", ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 820 }, acceptDownloads: true, ...options })
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url })
    const page = await context.newPage()
    page.setDefaultTimeout(patience)
    const c = new Console(page, url)
    page.on("pageerror", (error) => c.wrong.push("error: " + error.stack))
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return
      // The browser reports every answer with a status of 400 so; tests of
      // refused queries count them.
      if (/status of (400|401|499)/.test(message.text())) c.refusals++
      else c.wrong.push(`${message.type()}: ${message.text()} ${message.location().url}`)
    })
    page.on("requestfailed", (request) => {
      if (!/ERR_ABORTED/.test(request.failure()?.errorText ?? "")) c.wrong.push("request: " + request.url())
    })
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) c.wrong.push("foreign request: " + request.url())
    })
    await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI)))
    await page.goto(url + path + hash)
    return c
  }

  // ready waits until the editor completes from the schema.
  ready() {
    return this.page.waitForSelector('.editor[data-complete="yes"]')
  }

  // text is the query as the address has it, where it is a moment after it was
  // written: to be waited for.
  async text() {
    return new URLSearchParams((await this.hash()).slice(1)).get("query")
  }

  hash() {
    return this.page.evaluate(() => location.hash)
  }

  // type replaces the query, as a user does.
  async type(query) {
    await this.page.focus("#editor textarea")
    await this.page.keyboard.press("Escape") // a list of completions
    await this.page.keyboard.press("Control+A")
    await this.page.keyboard.press("Delete")
    await this.page.evaluate((text) => navigator.clipboard.writeText(text), query)
    await this.page.keyboard.press("Control+V")
  }

  async idle() {
    await this.page.waitForSelector('body[data-state="idle"]')
  }

  // run types a query, runs it, and waits for its end.
  async run(query) {
    await this.type(query)
    await this.page.keyboard.press("Shift+Enter")
    await this.page.waitForSelector('body[data-state="running"], #stats span, .problem')
    await this.idle()
  }

  stats() {
    return this.page.textContent("#stats")
  }

  // cell is the text of a cell that is in sight, from 0.
  cell(row, column) {
    return this.page.locator(`.grid-row[aria-rowindex="${row + 2}"] > *`).nth(column + 1).textContent()
  }

  close() {
    return this.page.context().close()
  }
}
