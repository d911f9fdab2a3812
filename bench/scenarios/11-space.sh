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

# What is left in every segment after the purge of five queues has to be copied.
probe=("${at[@]}" --queue space-probe --create "${sse_kms[@]}" --mode send --connections 16 --batch 1 --rate 4000)
watch_space "$dir/quiet"
measure space-quiet load "${probe[@]}" --seconds "$((seconds * 2))"
end_watch
alive=$(metric sealq_log_live_bytes)
# shellcheck disable=SC2046
"$bench" purge "${at[@]}" $(common "$home" | head -n 4) --queue space --queues 5
watch_space "$dir/purged" $((alive * 3 / 4 >> 20))
measure space-compacting load "${probe[@]}" --seconds "$((seconds * 2))"
sleep "$seconds"
end_watch
note space "steady state: $(cat "$dir/steady")" "before the purge: $(cat "$dir/quiet")" \
  "from the purge of 5 of 8 queues: $(cat "$dir/purged")"
