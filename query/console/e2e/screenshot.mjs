// Makes the README's pictures of the console of a running stack. Its arguments
// are the address of the query service and the folder for the pictures.
import path from "node:path"
import { Console, launch } from "./browser.mjs"

const url = process.argv[2].replace(/\/?$/, "/")
const query = `// Who still connects with TLS 1.0 and 1.1?
Connections
| where OperationName == "deviceConnect"
| summarize Connections = count() by bin(TimeGenerated, 1m), TlsVersion
| render columnchart with (kind=stacked, title="Connections by TLS version")`

const browser = await launch()
for (const theme of ["light", "dark"]) {
  const hash = "#" + new URLSearchParams({ query, range: "1h", run: "1" })
  const c = await Console.open(browser, url, { hash, colorScheme: theme, viewport: { width: 1200, height: 720 } })
  await c.page.waitForSelector('.chart-place[data-kind="columnchart"] svg')
  await c.ready()
  await c.page.click('.tree > [data-name="Devices"] .twist')
  await c.page.waitForSelector(".kql-column")
  await c.page.waitForSelector("#source:not(:empty)")
  await c.page.screenshot({ path: path.join(process.argv[3], `console-${theme}.png`) })
  await c.close()
}
await browser.close()
