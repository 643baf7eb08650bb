import './kusto-global.js';
import '@kusto/monaco-kusto/release/esm/kusto.worker';
