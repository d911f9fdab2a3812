# A thousand queues that fill at the same time, bodies of 256 bytes: memory on the way to ten million messages.
# shellcheck shell=bash disable=SC2154
deep=${BENCH_INTERLEAVED:-10000000}
queue=(--queue interleaved --queues 1000 --create "${sse_kms[@]}" --connections 16 --batch 10 --body-bytes 256)

if has_room $((deep / 1200000 + 2)); then
  lines=() queued=0
  for target in $((deep / 100)) $((deep / 10)) "$deep"; do
    measure "interleaved-fill-$target" load --endpoint "https://127.0.0.1:$https" "${queue[@]}" \
      --mode send --seconds 3600 --messages $((target - queued))
    lines+=("anonymous memory with $target messages in 1000 queues: $(memory "interleaved-fill-$target") MiB")
    queued=$target
  done
  lines+=("log on disk: $(( $(log_bytes) >> 20 )) MiB")
  stop_broker
  start_broker "$home"
  lines+=("ready after a clean stop: $(ready_ms) ms")
  kill_broker
  start_broker "$home"
  lines+=("ready after kill -9: $(ready_ms) ms")
  note interleaved-queues "${lines[@]}"
fi
