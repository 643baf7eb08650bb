// The worker of the editor: Microsoft's language service for KQL.

import "./kusto-global"
import "@kusto/monaco-kusto/release/esm/kusto.worker"
