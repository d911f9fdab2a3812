# One connection, one request at a time: how long does a durable, encrypted send take?
# shellcheck shell=bash disable=SC2154
measure one-outstanding load --endpoint "https://127.0.0.1:$https" --queue one-outstanding --create \
  "${sse_kms[@]}" --mode send --connections 1 --batch 1 --seconds "$seconds"
