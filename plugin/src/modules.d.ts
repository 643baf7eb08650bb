// What is used of Microsoft's KQL language service. Grafana ships the package;
// its own types need a Monaco of another version than Grafana's.
declare module '@kusto/monaco-kusto' {
  interface KustoWorker {
    setSchemaFromShowSchema(schema: unknown, cluster: string, database: string): Promise<void>;
  }
  export function getKustoWorker(): Promise<(model: { toString(): string }) => Promise<KustoWorker>>;
}
