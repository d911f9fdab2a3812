# A FIFO queue of a million messages in a hundred thousand groups beside one of ten thousand messages, and a queue with a
# million messages of one group whose first is in flight.
# shellcheck shell=bash disable=SC2154
deep=${BENCH_BACKLOG:-1000000}
probe=$((seconds * 5000))
fifo=(--attributes FifoQueue=true --attributes VisibilityTimeout=3600 "${sse_kms[@]}")
at=(--endpoint "https://127.0.0.1:$https")
many=(--connections 16 --batch 10 --seconds 3600)

fifo_rows() { # NAME QUEUE GROUPS PREFIX
  measure "$1-send" load "${at[@]}" --queue "$2" --mode send --groups "$3" --group-prefix "$4" \
    "${many[@]}" --messages "$probe"
  measure "$1-receive" load "${at[@]}" --queue "$2" --mode receive --wait-seconds 0 "${many[@]}" --messages "$probe"
}

fill groups.fifo 10000 "${fifo[@]}" --groups 100000
fifo_rows fifo-shallow groups.fifo 100000 group
measure fifo-fill load "${at[@]}" --queue groups.fifo --mode send --groups 100000 "${many[@]}" --messages "$deep"
fifo_rows fifo-deep groups.fifo 100000 group

fill locked.fifo "$deep" "${fifo[@]}" --groups 1 --group-prefix locked
measure fifo-lock load "${at[@]}" --queue locked.fifo --mode receive --keep --connections 1 --wait-seconds 0 \
  --seconds 60 --messages 1
fifo_rows fifo-behind-locked locked.fifo 1000 free
lines=("anonymous memory with 2 x $deep FIFO messages: $(memory fifo-behind-locked-receive) MiB")
stop_broker
start_broker "$home"
note fifo-groups "${lines[@]}" "ready after a clean stop: $(ready_ms) ms"
