#!/bin/sh
# Makes what the services of compose.yaml keep from each other and from others:
# a root certificate, server certificates, passwords, Grafana's token. What is
# there stays; certificates are made anew 30 days before they end. Each service
# gets its own folder, readable by its user alone.
#
#   SECRETS   folder of folders: ca, hubscope, nats, clickhouse, grafana
#   OWNERS    yes: give the folders to the services' users (needs root)
set -eu
umask 077
secrets=${SECRETS:-/secrets}

# password FILE: a new one, if there is none.
password() {
    [ -s "$1" ] || openssl rand -hex 24 >"$1"
}

# write FILE: standard input becomes the file in one step.
write() {
    cat >"$1.new" && mv "$1.new" "$1"
}

for folder in ca hubscope nats clickhouse grafana; do
    mkdir -p "$secrets/$folder"
done
cd "$secrets/ca"

if ! openssl x509 -in ca.pem -noout -checkend 34560000 >/dev/null 2>&1; then # 400 days
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/O=hubscope/CN=hubscope services" -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.pem 2>/dev/null
    echo "init: made a root certificate"
fi

# certificate NAME FOLDER: server.pem and server.key for host name NAME. NAME.crt
# is kept to see when it ends; it is there once the other two are.
certificate() {
    if openssl verify -CAfile ca.pem "$1.crt" >/dev/null 2>&1 && openssl x509 -in "$1.crt" -noout -checkend 2592000 >/dev/null; then
        return
    fi
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=hubscope/CN=$1" \
        -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n' "$1" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 397 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
    write "$secrets/$2/server.key" <"$1.key"
    write "$secrets/$2/server.pem" <"$1.pem"
    rm -f "$1.csr" "$1.ext" "$1.key"
    mv "$1.pem" "$1.crt"
    echo "init: made a certificate for $1"
}
certificate serve hubscope
certificate nats nats
certificate clickhouse clickhouse
for folder in hubscope clickhouse grafana; do
    write "$secrets/$folder/ca.pem" <ca.pem
done

for name in nats clickhouse-writer clickhouse-reader; do
    password "$name.password"
done
write "$secrets/nats/auth.conf" <<END
authorization { user: hubscope, password: "$(cat nats.password)" }
END
hash() {
    tr -d '\n' <"$1" | openssl dgst -sha256 -r | cut -d ' ' -f 1
}
write "$secrets/clickhouse/secrets.xml" <<END
<clickhouse>
    <hubscope_writer>$(hash clickhouse-writer.password)</hubscope_writer>
    <hubscope_reader>$(hash clickhouse-reader.password)</hubscope_reader>
</clickhouse>
END
write "$secrets/hubscope/nats.url" <<END
tls://hubscope:$(cat nats.password)@nats:4222
END
write "$secrets/hubscope/clickhouse.dsn" <<END
clickhouse://writer:$(cat clickhouse-writer.password)@clickhouse:9440/hubscope?secure=true
END
write "$secrets/hubscope/clickhouse-reader.dsn" <<END
clickhouse://reader:$(cat clickhouse-reader.password)@clickhouse:9440/hubscope?secure=true
END

password "$secrets/grafana/admin-password"
if [ ! -s "$secrets/grafana/token" ]; then
    # One that was made, and not written down, is of no use.
    hubscope token delete grafana --file "$secrets/hubscope/tokens.yaml" >/dev/null 2>&1 || true
    hubscope token add grafana --file "$secrets/hubscope/tokens.yaml" >grafana.token
    head -n 1 grafana.token | write "$secrets/grafana/token"
    rm grafana.token
    echo "init: made a token for grafana"
fi

if [ "${OWNERS:-}" = yes ]; then
    chown -R 10001:10001 "$secrets/hubscope" /var/lib/hubscope
    chown -R 10002:10002 "$secrets/nats" /var/lib/nats
    chown -R 101:101 "$secrets/clickhouse"
    chown -R 472:0 "$secrets/grafana"
fi
echo "init: done"
