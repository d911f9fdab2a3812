# Space: how much disk a steady state takes, how soon a purge gives it back, and what compaction costs a sender.
# shellcheck shell=bash disable=SC2154
live=${BENCH_LIVE:-700000}
at=(--endpoint "https://127.0.0.1:$https")
watch_space() { # FILE [MIB]
  python3 bench/watch_space.py "http://127.0.0.1:$metrics/metrics" "$home/data/log" ${2:+"$2"} >"$1" &
  watcher=$!
}
end_watch() { kill "$watcher" && wait "$watcher"; }

# Eight queues fill together, then as much is received and deleted as is sent.
fill space "$live" --queues 8 "${sse_kms[@]}"
watch_space "$dir/steady"
measure space-steady load "${at[@]}" --queue space --queues 8 --mode both --connections 16 --batch 10 \
  --seconds $((seconds * 3))
end_watch

# Three times: a load alone, then the same load while what is left in every segment after a purge of five queues in eight is
# copied.
lines=("steady state: $(cat "$dir/steady")")
for turn in 1 2 3; do
  fill "space-$turn" $((live / 2)) --queues 8 "${sse_kms[@]}"
  sleep "$seconds"
  probe=("${at[@]}" --queue space-probe --create "${sse_kms[@]}" --mode send --connections 16 --batch 1 --rate 4000)
  # Watched as well, since to be watched costs something.
  watch_space "$dir/before"
  measure "space-quiet-$turn" load "${probe[@]}" --seconds "$seconds"
  end_watch
  alive=$(metric sealq_log_live_bytes) purged=$((live / 2 * 1200 * 5 / 8))
  # shellcheck disable=SC2046
  "$bench" purge "${at[@]}" $(common "$home" | head -n 4) --queue "space-$turn" --queues 5
  watch_space "$dir/purged" $((alive - purged / 2 >> 20))
  measure "space-compacting-$turn" load "${probe[@]}" --seconds "$seconds"
  end_watch
  lines+=("purge of $((purged >> 20)) MiB, turn $turn: $(cat "$dir/purged")")
done
note space "${lines[@]}"
