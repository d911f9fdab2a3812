# The same load on an SSE-KMS queue and on one without encryption, in turns, against the same broker, for four sizes of body.
# shellcheck shell=bash disable=SC2154
at=(--endpoint "https://127.0.0.1:$https")

for bytes in 256 1024 16384 262144; do
  # A batch may have 1 MiB; at most 2.6 GB a row.
  batch=$((bytes < 262144 ? 10 : 2))
  load=(--mode send --connections 16 --batch "$batch" --body-bytes "$bytes" --seconds "$seconds" --messages $((bytes < 16384 ? 100000000 : 2621440000 / bytes)))
  for turn in 1 2 3 4 5; do
    measure "encrypted-$bytes-$turn" load "${at[@]}" --queue "encrypted-$bytes-$turn" --create "${sse_kms[@]}" "${load[@]}"
    measure "plain-$bytes-$turn" load "${at[@]}" --queue "plain-$bytes-$turn" --create "${plain[@]}" "${load[@]}"
    for kind in encrypted plain; do
      # shellcheck disable=SC2046
      "$bench" purge "${at[@]}" $(common "$home" | head -n 4) --queue "$kind-$bytes-$turn"
    done
  done
done
