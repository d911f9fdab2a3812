# Ten quiet tenants and forty consumers that work 50 ms on a message: how long the quiet messages wait, alone and beside a
# tenant that has filled the queue.
# shellcheck shell=bash disable=SC2154
dwell() { # NAME QUEUE NOISY_MESSAGES
  measure "$1" dwell --endpoint "https://127.0.0.1:$https" --queue "$2" --create "${sse_kms[@]}" \
    --noisy "$3" --quiet-groups 10 --quiet-rate 50 --consumers 40 --work-ms 50 --seconds "$((seconds * 2))"
}

dwell fair-queue-alone alone 0
dwell fair-queue-noisy noisy "$((backlog / 10))"
