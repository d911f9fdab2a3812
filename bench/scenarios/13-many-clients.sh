# Ten thousand queues, ten thousand connections that ask nothing, ten thousand long polls: what each costs.
# shellcheck shell=bash disable=SC2154
many=${BENCH_MANY:-9900}
at=(--endpoint "https://127.0.0.1:$https")
anonymous() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$broker_pid/status"; }

before=$(anonymous)
begun=$(date +%s%N)
fill many 10 --queues 10000 "${sse_kms[@]}"
lines=("10000 queues made in $((($(date +%s%N) - begun) / 1000000)) ms: $(($(anonymous) - before)) KiB of memory")
stop_broker
start_broker "$home"
lines+=("ready with 10000 queues: $(ready_ms) ms")
at=(--endpoint "https://127.0.0.1:$https")
measure many-connections idle "${at[@]}" --queue many-0 --pollers "$many" --silent --seconds "$seconds"
stop_broker
start_broker "$home"
at=(--endpoint "https://127.0.0.1:$https")
measure many-pollers idle "${at[@]}" --queue many --queues 10000 --pollers "$many" --seconds $((seconds * 3))
note many-clients "${lines[@]}"
