# The same load on an SSE-KMS queue and on one without encryption, in turns, against the same broker, for four sizes of body.
# shellcheck shell=bash disable=SC2154
at=(--endpoint "https://127.0.0.1:$https")

for bytes in 256 1024 16384 262144; do
  load=(--mode send --connections 16 --batch 10 --body-bytes "$bytes" --seconds "$seconds")
  # At most 4 GB a row, and a batch may have 1 MiB.
  [ "$bytes" -lt 262144 ] || load+=(--batch 2 --messages 16000)
  for turn in 1 2 3 4 5; do
    measure "encrypted-$bytes-$turn" load "${at[@]}" --queue encrypted --create "${sse_kms[@]}" "${load[@]}"
    measure "plain-$bytes-$turn" load "${at[@]}" --queue plain --create "${plain[@]}" "${load[@]}"
  done
done
