# A million queued messages of 1 KiB: what does the broker hold in memory, and how long is a restart?
# shellcheck shell=bash disable=SC2154
measure backlog load --endpoint "https://127.0.0.1:$https" --queue backlog --create "${sse_kms[@]}" \
  --mode send --connections 16 --batch 10 --seconds 3600 --messages "$backlog"
stop_broker
begun=$(date +%s%N)
start_broker "$home"
echo "backlog restart: $(( ($(date +%s%N) - begun) / 1000000 )) ms until ready" | tee "$results/backlog-restart.txt" >&2
