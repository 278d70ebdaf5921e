#!/usr/bin/env bash
# Runs the scripts of gateway/tests/clients/ with other people's client libraries against a live node.
# Needs target/clients (a Python venv with `openai`), and fetches the model through `troop` itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Beside an example of the workspace it has the features that tests give it: after them nothing is compiled anew.
cargo build --quiet --locked --workspace --bin troop --example synth
home=$(mktemp -d)
export TROOP_HOME="$home"
trap 'kill "${node:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$home"' EXIT
troop=target/debug/troop

"$troop" node --role both --listen 127.0.0.1:0 >"$home/out" 2>&1 &
node=$!
for _ in $(seq 600); do
  [ -s "$home/node.json" ] && break
  kill -0 "$node" 2>/dev/null || { cat "$home/out"; exit 1; }
  sleep 0.2
done
address=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["listen"])' "$home/node.json")
key() { "$troop" key create --json "$@" | python3 -c 'import json,sys; print(json.load(sys.stdin)["key"])'; }

export TROOP_BASE_URL="http://$address/v1"
TROOP_GUEST_KEY=$(key --member rich)
TROOP_POOR_KEY=$(key --member poor --credits 0)
export TROOP_GUEST_KEY TROOP_POOR_KEY
python3 - "$address" <<'PY'
import sys, time, urllib.request
for _ in range(300):
    try:
        urllib.request.urlopen(f"http://{sys.argv[1]}/readyz", timeout=2)
        break
    except Exception:
        time.sleep(0.2)
else:
    sys.exit("the node was not ready within 60 s")
PY
for script in gateway/tests/clients/*.py; do
  echo "-- $script"
  target/clients/bin/python "$script"
done
