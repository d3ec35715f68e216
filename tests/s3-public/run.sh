#!/bin/bash
# S3 against a test that no one here wrote: the functional tests that the Python client of MinIO brings in its source
# package. They are fetched as published and run as they are; only endpoint and credentials are said. What they find
# not implemented must be exactly what skipped.txt lists, with its reasons.
#
# PASSO_BIN names the binary; PYTHON, if given, a Python with the packages of requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${PASSO_BIN:?PASSO_BIN must name the passo binary}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

python=${PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$work/venv"
    python=$work/venv/bin/python
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
fi
version=$(sed -n 's/^minio==//p' "$here/requirements.txt")
"$python" -m pip download --quiet --no-deps --no-binary minio --dest "$work" "minio==$version"
tar -xzf "$work/minio-$version.tar.gz" -C "$work"

mkdir "$work/home"
HOME=$work/home "$binary" serve --listen 127.0.0.1:0 --data "$work/data" > "$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 600); do
    endpoint=$(sed -n 's/.* on http:\/\/\([0-9.:]*\)$/\1/p' "$work/serve.log" | head -1)
    [ -z "$endpoint" ] || break
    kill -0 "$server" || { cat "$work/serve.log"; exit 1; }
    sleep 0.1
done

cd "$work"
status=0
ACCESS_KEY=test SECRET_KEY=test-secret SERVER_ENDPOINT=$endpoint ENABLE_HTTPS=0 MINT_MODE=full DATA_DIR=$work/none \
    "$python" "minio-$version/tests/functional/tests.py" > "$work/results.jsonl" || status=$?
"$python" "$here/judge.py" "$work/results.jsonl" "$here/skipped.txt" || status=1
[ "$status" = 0 ] || tail -5 "$work/serve.log"
exit "$status"
