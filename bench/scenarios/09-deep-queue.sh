# Ten million queued messages of 1 KiB: memory on the way there, throughput beside that at ten thousand queued, and how
# long a start takes after a stop and after a kill.
# shellcheck shell=bash disable=SC2154
deep=${BENCH_DEPTH:-10000000}
probe=$((seconds * 20000))
queue=(--endpoint "https://127.0.0.1:$https" --queue deep --create "${sse_kms[@]}" --connections 16 --batch 10)

depth_rows() { # NAME: the same number of messages in and out
  measure "$1-send" load "${queue[@]}" --mode send --seconds 3600 --messages "$probe"
  measure "$1-receive" load "${queue[@]}" --mode receive --wait-seconds 0 --seconds 3600 --messages "$probe"
}

if has_room $((deep / 600000 + 2)); then
  measure depth-empty load "${queue[@]}" --mode send --seconds 3600 --messages 10000
  depth_rows depth-shallow
  lines=("anonymous memory with 10000 queued: $(memory depth-shallow-receive) MiB")
  queued=10000
  for target in $((deep / 100)) $((deep / 10)) "$deep"; do
    [ "$target" -gt "$queued" ] || continue
    measure "depth-fill-$target" load "${queue[@]}" --mode send --seconds 3600 --messages $((target - queued))
    lines+=("anonymous memory with $target queued: $(memory "depth-fill-$target") MiB")
    queued=$target
  done
  depth_rows depth-deep
  lines+=("log on disk with $queued queued: $(( $(log_bytes) >> 20 )) MiB")
  stop_broker
  start_broker "$home"
  lines+=("ready after a clean stop with $queued queued: $(ready_ms) ms")
  queue[1]="https://127.0.0.1:$https"
  measure depth-after-start load "${queue[@]}" --mode send --seconds 3600 --messages "$probe"
  kill_broker
  start_broker "$home"
  lines+=("ready after kill -9 under $probe new messages with $queued queued: $(ready_ms) ms")
  note deep-queue "${lines[@]}"
fi
