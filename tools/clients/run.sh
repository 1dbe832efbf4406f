#!/usr/bin/env bash
# Programs written for OpenAI's Videos API against a running Kinora: the official SDKs in several versions, LiteLLM, and
# requests made up from the OpenAPI document.
#
# Usage: tools/clients/run.sh [PROGRAM]       (target/debug/kinora if none is named)
#
# Needs python3 and node, and installs the clients from PyPI and npm into a folder of its own, one after the other, each
# deleted when it has run (KINORA_CLIENTS names a folder that keeps them for the next time). Where a client cannot be installed, it is named as skipped; with KINORA_REQUIRE_CLIENTS=1 that is a failure.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
program="${1:-$here/../../target/debug/kinora}"
folder="$(mktemp -d)"
clients="${KINORA_CLIENTS:-$folder/clients}"
mkdir -p "$clients"

python_versions="${KINORA_PYTHON_SDKS-2.24.0 2.54.0 3.54.0}"
node_versions="${KINORA_NODE_SDKS-6.20.0 7.57.0}"
server_pid=""
skipped=()

stop() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

start_server() {
    "$program" serve --address 127.0.0.1:0 --folder "$folder/server" --keys --allow-private-addresses \
        >"$folder/serve.out" 2>"$folder/serve.err" &
    server_pid=$!
    for _ in $(seq 100); do
        KINORA_URL="$(grep -om1 'http://[0-9.:]*' "$folder/serve.out" "$folder/serve.err" -h | head -1 || true)"
        KINORA_KEY="$(grep -ohm1 'kn-[A-Za-z0-9_-]*' "$folder/serve.out" "$folder/serve.err" | head -1 || true)"
        [ -n "$KINORA_URL" ] && [ -n "$KINORA_KEY" ] && break
        kill -0 "$server_pid" 2>/dev/null || { cat "$folder/serve.err" >&2; exit 1; }
        sleep 0.2
    done
    export KINORA_URL KINORA_KEY
    echo "server: $KINORA_URL"
}

done_with() { # done_with FOLDER: nobody needs this client again
    [ -n "${KINORA_CLIENTS:-}" ] || rm -rf "$1"
}

with_python() { # with_python NAME PACKAGE SCRIPT...
    local name="$1" package="$2" at="$clients/$1"
    shift 2
    if [ ! -x "$at/bin/python" ]; then
        python3 -m venv "$at" && "$at/bin/pip" install --quiet --disable-pip-version-check "$package" || {
            rm -rf "$at"
            skipped+=("$name")
            return 0
        }
    fi
    PYTHONWARNINGS=ignore PATH="$at/bin:$PATH" "$@"
    done_with "$at"
}

with_node() { # with_node VERSION
    local at="$clients/node-$1"
    if [ ! -d "$at/node_modules/openai" ]; then
        mkdir -p "$at"
        (cd "$at" && echo '{"private":true}' >package.json && npm install --silent --no-audit --no-fund "openai@$1") || {
            skipped+=("node-$1")
            return 0
        }
    fi
    (cd "$at" && node "$here/openai_node.mjs")
    done_with "$at"
}

made_up_requests() {
    # In a folder of its own: it writes what it found beside itself.
    (cd "$folder" && st --no-color --config-file "$here/schemathesis.toml" run "$KINORA_URL/openapi.json" \
        --header "Authorization: Bearer $KINORA_KEY" --workers 2 \
        --seed "${KINORA_FUZZ_SEED:-1}" --max-examples "${KINORA_FUZZ_EXAMPLES:-20}" --max-time "${KINORA_FUZZ_SECONDS:-120}")
}

start_server
for version in $python_versions; do
    with_python "python-$version" "openai==$version" python "$here/openai_python.py"
done
for version in $node_versions; do
    with_node "$version"
done
[ -n "${KINORA_SKIP_LITELLM:-}" ] || with_python litellm "litellm" python "$here/litellm_python.py"
with_python schemathesis "schemathesis" made_up_requests

echo "the server keeps $(du -sh "$folder/server" | cut -f1)"
kill -0 "$server_pid" || { echo "the server died" >&2; cat "$folder/serve.err" >&2; exit 1; }
for name in ${skipped[@]+"${skipped[@]}"}; do
    echo "skipped: $name could not be installed"
done
[ ${#skipped[@]} -eq 0 ] || [ "${KINORA_REQUIRE_CLIENTS:-}" != 1 ] || exit 1
