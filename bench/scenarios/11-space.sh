# Space: how much disk a steady state takes, how soon a purge gives it back, and what compaction costs a sender.
# shellcheck shell=bash disable=SC2154
live=${BENCH_LIVE:-700000}
at=(--endpoint "https://127.0.0.1:$https")

# Eight queues fill together, then as much is received and deleted as is sent.
fill space "$live" --queues 8 "${sse_kms[@]}"
alive=$(metric sealq_log_live_bytes)
most=0
measure space-steady load "${at[@]}" --queue space --queues 8 --mode both --connections 16 --batch 10 \
  --seconds $((seconds * 3)) &
row=$!
while kill -0 "$row" 2>/dev/null; do
  now=$(log_bytes)
  most=$((now > most ? now : most)) grown=$(metric sealq_log_live_bytes)
  alive=$((grown > alive ? grown : alive))
  sleep 0.2
done
wait "$row"
lines=("steady state: at most $((alive >> 20)) MiB alive, at most $((most >> 20)) MiB on disk")

# What is left in every segment after the purge of five queues has to be copied.
probe=("${at[@]}" --queue space-probe --create "${sse_kms[@]}" --mode send --connections 16 --batch 1 --rate 4000)
measure space-quiet load "${probe[@]}" --seconds "$seconds"
before=$(log_bytes)
# shellcheck disable=SC2046
"$bench" purge "${at[@]}" $(common "$home" | head -n 4) --queue space --queues 5
purged=$(date +%s%N)
measure space-compacting load "${probe[@]}" --seconds "$seconds" &
row=$!
half_ms=none
for _ in $(seq 600); do
  after=$(log_bytes) alive=$(metric sealq_log_live_bytes)
  took=$((($(date +%s%N) - purged) / 1000000))
  if [ "$half_ms" = none ] && [ "$after" -le $((alive * 2 + (128 << 20))) ]; then
    half_ms=$took
  fi
  [ "$half_ms" != none ] && ! kill -0 "$row" 2>/dev/null && break
  sleep 0.1
done
wait "$row"
lines+=("purge of 5 of 8 queues: $((before >> 20)) MiB on disk before, within twice what is alive and two segments after $half_ms ms")
lines+=("in the end: $((alive >> 20)) MiB alive, $(( $(log_bytes) >> 20 )) MiB on disk")
note space "${lines[@]}"
