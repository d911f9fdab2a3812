# SendMessage of 1 KiB to an SSE-KMS queue, HTTPS, 64 connections.
# shellcheck shell=bash disable=SC2154
measure send-single load --endpoint "https://127.0.0.1:$https" --queue send-single --create "${sse_kms[@]}" \
  --mode send --connections 64 --batch 1 --seconds "$seconds"
