# A steady 10,000 messages a second in single sends: latency counted from when each request was due.
# shellcheck shell=bash disable=SC2154
measure open-loop load --endpoint "https://127.0.0.1:$https" --queue open-loop --create "${sse_kms[@]}" \
  --mode send --connections 64 --batch 1 --rate 10000 --seconds "$seconds"
