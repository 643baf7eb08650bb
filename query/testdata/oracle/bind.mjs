// Binds queries with the official KQL binder. In: one JSON object a line,
// {"query", "tables": {name: "(column: type, ...)"}}. Out: {"columns": [{"name","type"}]}
// or {"error"}, one a line.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
const require = createRequire(import.meta.url);
require('@kusto/language-service-next/bridge.min.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

function all(list) {
  const out = [];
  for (const e = globalThis.Bridge.getEnumerator(list); e.moveNext();) out.push(e.Current);
  return out;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { query, tables } = JSON.parse(line);
  let answer;
  try {
    const symbols = Object.entries(tables).map(([name, schema]) => new Symbols.TableSymbol.$ctor7(name, schema, null));
    const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('db', symbols));
    const code = KustoCode.ParseAndAnalyze(query, globals);
    const bad = all(code.GetDiagnostics()).find(d => d.Severity === 'Error');
    answer = bad ? { error: bad.Message } : { columns: all(code.ResultType.Columns).map(c => ({ name: c.Name, type: c.Type.Name })) };
  } catch (e) {
    answer = { error: String(e.message ?? e) };
  }
  console.log(JSON.stringify(answer));
}
