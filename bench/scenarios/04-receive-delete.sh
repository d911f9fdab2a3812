# ReceiveMessage of 10 and DeleteMessageBatch of 10 from an SSE-KMS queue, 16 connections, until it is empty.
# shellcheck shell=bash disable=SC2154
fill receive-delete "$((backlog / 2))" "${sse_kms[@]}"
measure receive-delete load --endpoint "https://127.0.0.1:$https" --queue receive-delete --mode receive \
  --connections 16 --batch 10 --seconds "$((seconds * 6))" --wait-seconds 0 --until-empty
