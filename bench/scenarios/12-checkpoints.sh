# What a checkpoint costs a sender: ten thousand queues in the catalog, then the same load with segments so small that a
# checkpoint is written about every second.
# shellcheck shell=bash disable=SC2154
checkpoints() { ls "$home/data/log" | sed -n 's/^checkpoint-0*\([0-9]\)/\1/p' | sort -n | tail -n 1; }
load=(--queue probe --create "${sse_kms[@]}" --mode send --connections 32 --batch 1 --rate 5000 --seconds "$seconds")

fill catalog 10000 --queues 10000 "${sse_kms[@]}"
begun=$(checkpoints)
measure checkpoints-few load --endpoint "https://127.0.0.1:$https" "${load[@]}"
few=$(( $(checkpoints) - ${begun:-0} ))
stop_broker
start_broker "$home" 'segment_bytes = "4 MiB"'
begun=$(checkpoints)
measure checkpoints-many load --endpoint "https://127.0.0.1:$https" "${load[@]}"
note checkpoints "checkpoints written during checkpoints-few: $few" \
  "checkpoints written during checkpoints-many: $(( $(checkpoints) - begun ))" \
  "bytes of one: $(stat -c %s "$home"/data/log/checkpoint-* | tail -n 1)"
