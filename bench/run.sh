#!/usr/bin/env bash
# Starts the release broker in a directory of its own, runs every scenario against it and prints a table.
#   bench/run.sh [SCENARIO ...]        names of files in bench/scenarios without .sh; default: all
# Environment: BENCH_DIR (where data lies, default a new directory under ${TMPDIR:-/tmp}),
#   BENCH_SECONDS (length of a timed row, 10), BENCH_BACKLOG (messages of the backlog row, 1000000),
#   BENCH_POLLERS (1000), BENCH_KEY_SECONDS (length of the row that counts KMS calls, 330), BENCH_DEPTH and BENCH_INTERLEAVED (messages of the deep queues, 10000000: 16 and 8 GB of disk),
#   BENCH_RESULTS (bench/results).
# Results are JSON files, one a row, with the machine, disk, commit and settings they were measured with.
set -euo pipefail
cd "$(dirname "$0")/.."

sealq=${SEALQ:-target/release/sealq}
bench=${SEALQ_BENCH:-target/release/sealq-bench}
[ -x "$sealq" ] || { echo "build it first: cargo build --release -p sealq-broker" >&2; exit 1; }
[ -x "$bench" ] || cargo build --release -p sealq-bench

seconds=${BENCH_SECONDS:-10}
backlog=${BENCH_BACKLOG:-1000000}
pollers=${BENCH_POLLERS:-1000}
results=${BENCH_RESULTS:-bench/results}
dir=${BENCH_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/sealq-bench.XXXXXX")}
mkdir -p "$dir" "$results"
ulimit -n "$(ulimit -Hn)"

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

broker_pid=
start_broker() { # HOME [STORAGE_SETTINGS [TABLES]]: a fresh broker, so that rows do not lean on each other
  local home=$1 storage=${2:-} tables=${3:-}
  mkdir -p "$home"
  https=$(port) http=$(port) metrics=$(port)
  cat >"$home/sealq.toml" <<TOML
data_dir    = "$home/data"
secrets_dir = "$home/secrets"
[listen]
https   = "127.0.0.1:$https"
http    = "127.0.0.1:$http"
metrics = "127.0.0.1:$metrics"
[storage]
$storage
$tables
TOML
  "$sealq" serve --config "$home/sealq.toml" 2>"$home/broker.log" >&2 &
  broker_pid=$!
  for _ in $(seq 600); do
    if "$sealq" healthcheck --url "http://127.0.0.1:$http/readyz" >/dev/null 2>&1; then return; fi
    kill -0 "$broker_pid" 2>/dev/null || { cat "$home/broker.log" >&2; exit 1; }
    sleep 0.1
  done
  echo "the broker is not ready after 60 s" >&2
  exit 1
}

stop_broker() {
  [ -n "$broker_pid" ] || return 0
  kill "$broker_pid" 2>/dev/null || true
  wait "$broker_pid" 2>/dev/null || true
  broker_pid=
}
trap 'stop_broker; [ -n "${BENCH_DIR:-}" ] || rm -rf "$dir"' EXIT

kill_broker() { # as a crash would
  kill -9 "$broker_pid"
  wait "$broker_pid" 2>/dev/null || true
  broker_pid=
}

ready_ms() { sed -n 's/^ready in \([0-9]*\) ms.*/\1/p' "$home/broker.log" | tail -n 1; }

log_bytes() { du -s --block-size=1 "$home/data/log" | cut -f 1; }

metric() { # NAME: the sum of its series
  python3 -c '
import sys, urllib.request
text = urllib.request.urlopen(sys.argv[1]).read().decode()
print(int(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(sys.argv[2] + "{"))))
' "http://127.0.0.1:$metrics/metrics" "$1"
}

memory() { # RESULT_NAME: anonymous memory of the broker after that row, MiB
  python3 -c '
import json, sys
print(json.load(open(sys.argv[1]))["broker"]["after"]["anonymous_bytes"] >> 20)' "$results/$1.json"
}

note() { # RESULT_NAME LINE ...: what is no row of the generator
  local file=$results/$1.txt
  shift
  printf '%s\n' "$@" | tee "$file" >&2
}

has_room() { # GIGABYTES: free on the disk that data lies on
  local free=$(( $(df --output=avail -B 1G "$dir" | tail -n 1) ))
  [ "$free" -ge "$1" ] || { echo "left out: needs $1 GB of disk, $free are free" >&2; return 1; }
}

common() { # HOME: what every run of the generator gets
  printf '%s\n' --ca-file "$1/secrets/tls/ca.pem" --credentials-file "$1/secrets/credentials" \
    --broker-pid "$broker_pid" --data-dir "$1"
}

measure() { # NAME load|idle|dwell ARGUMENTS: one row
  local name=$1 kind=$2
  shift 2
  # shellcheck disable=SC2046
  "$bench" "$kind" --name "$name" --json "$results/$name.json" $(common "$home") "$@"
}

fill() { # QUEUE MESSAGES ARGUMENTS: puts messages there without a result
  local queue=$1 messages=$2
  shift 2
  # shellcheck disable=SC2046
  "$bench" load --name fill --json "$dir/fill.json" $(common "$home") --endpoint "https://127.0.0.1:$https" \
    --queue "$queue" --create --connections 16 --batch 10 --seconds 3600 --messages "$messages" "$@"
}

sse_kms=(--attributes KmsMasterKeyId=alias/aws/sqs)
plain=(--attributes SqsManagedSseEnabled=false)

if [ $# -eq 0 ]; then
  set -- $(cd bench/scenarios && ls -- *.sh | sed 's/\.sh$//')
fi
"$bench" fsync-probe --dir "$dir" --json "$results/fsync-probe.json"
for scenario in "$@"; do
  echo "== $scenario" >&2
  home=$dir/$scenario
  start_broker "$home"
  # shellcheck disable=SC1090
  . "bench/scenarios/$scenario.sh"
  stop_broker
  [ -n "${BENCH_DIR:-}" ] || rm -rf "$home"
done
python3 bench/summary.py "$results"
