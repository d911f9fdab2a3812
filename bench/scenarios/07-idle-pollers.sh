# A thousand consumers in long polls and nothing to do.
# shellcheck shell=bash disable=SC2154
measure idle-pollers idle --endpoint "https://127.0.0.1:$https" --queue idle --create "${sse_kms[@]}" \
  --pollers "$pollers" --seconds "$((seconds * 3))"
