#!/bin/sh
# Secrets come from files: HUBSCOPE_NATS_FILE names one whose text becomes
# HUBSCOPE_NATS, and so on. Then this process becomes hubscope.
set -eu
for name in HUBSCOPE_NATS HUBSCOPE_CLICKHOUSE HUBSCOPE_CLICKHOUSE_READER; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        text=$(cat "$file")
        export "$name=$text"
    fi
done
exec hubscope "$@"
