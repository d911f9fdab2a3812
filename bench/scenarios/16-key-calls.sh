# KMS calls beside the formula 2P + C a period: a queue for each reuse period D, number of producers P and of consumers C, all
# at the same time, every producer and consumer a user of its own.
# shellcheck shell=bash disable=SC2154
long=${BENCH_KEY_SECONDS:-330}
account=000000000000 allow='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
tables="[[account]]"$'\n'"id = \"$account\""$'\n'
keys=$dir/key-calls-credentials
: >"$keys"
for number in $(seq 32); do
  key=$(printf 'AKIABENCH%07d' "$number") secret=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
  tables+="[[account.user]]"$'\n'"name = \"user-$number\""$'\n'"access_key_id = \"$key\""$'\n'
  tables+="secret_access_key = \"$secret\""$'\n'"policy = '''$allow'''"$'\n'
  printf '[user-%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$number" "$key" "$secret" >>"$keys"
done
stop_broker
start_broker "$home" "" "$tables"
users() { seq -f '--profile user-%g' "$1" "$2"; }

rows=()
for period in 60 300 3600; do
  for producers in 1 4 16; do
    for consumers in 1 4 16; do
      queue=period-$period-$producers-$consumers
      at=(--endpoint "https://127.0.0.1:$https" --ca-file "$home/secrets/tls/ca.pem" --credentials-file "$keys" --queue "$queue")
      # shellcheck disable=SC2046
      "$bench" load --name send --json "$dir/$queue-send.json" "${at[@]}" $(users 1 "$producers") --create "${sse_kms[@]}" \
        --attributes "KmsDataKeyReusePeriodSeconds=$period" --mode send --connections "$producers" --rate 64 --seconds "$long" &
      rows+=($!)
      # shellcheck disable=SC2046
      "$bench" load --name receive --json "$dir/$queue-receive.json" "${at[@]}" $(users 17 $((16 + consumers))) --create \
        "${sse_kms[@]}" --attributes "KmsDataKeyReusePeriodSeconds=$period" --mode receive --connections "$consumers" --batch 1 \
        --seconds "$long" &
      rows+=($!)
    done
  done
done
wait "${rows[@]}"
python3 bench/key_calls.py "http://127.0.0.1:$metrics/metrics" "$dir" "$long" >"$results/key-calls.txt"
cat "$results/key-calls.txt" >&2
