# SendMessageBatch of 10 x 1 KiB to an SSE-KMS queue, HTTPS, 16 connections, as fast as replies come.
# shellcheck shell=bash disable=SC2154
measure send-batch load --endpoint "https://127.0.0.1:$https" --queue send-batch --create "${sse_kms[@]}" \
  --mode send --connections 16 --batch 10 --seconds "$seconds"
