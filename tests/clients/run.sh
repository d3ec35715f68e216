#!/bin/bash
# The same short scenario with the AWS SDKs for JavaScript and Rust, against a server of its own. PASSO_BIN names the binary.
set -euo pipefail
cd "$(dirname "$0")"
: "${PASSO_BIN:?must name the passo binary}"

data=$(mktemp -d)
"$PASSO_BIN" serve --listen 127.0.0.1:0 --data "$data/server" --iam off > "$data/log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; rm -rf "$data"' EXIT
until AWS_ENDPOINT_URL=$(grep -o 'http://127\.0\.0\.1:[0-9]*' "$data/log" | head -n 1) && [ -n "$AWS_ENDPOINT_URL" ]; do
    kill -0 "$server" 2> /dev/null || { cat "$data/log"; exit 1; }
    sleep 0.05
done
export AWS_ENDPOINT_URL

cp javascript/*.js javascript/*.json "$data"
(cd "$data" && npm ci --silent --no-audit --no-fund && NODE_NO_WARNINGS=1 node scenario.js) | sed 's/^/JavaScript: /'
cargo run --quiet --locked --manifest-path rust/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-../../target}/clients" | sed 's/^/Rust: /'
