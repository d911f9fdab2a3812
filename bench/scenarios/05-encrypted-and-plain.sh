# The same load on an SSE-KMS queue and on one without encryption, in turns, against the same broker.
# shellcheck shell=bash disable=SC2154
for turn in 1 2 3; do
  measure "encrypted-$turn" load --endpoint "https://127.0.0.1:$https" --queue encrypted --create \
    "${sse_kms[@]}" --mode send --connections 16 --batch 10 --seconds "$seconds"
  measure "plain-$turn" load --endpoint "https://127.0.0.1:$https" --queue plain --create "${plain[@]}" \
    --mode send --connections 16 --batch 10 --seconds "$seconds"
done
