#!/usr/bin/env bash
# bash examples/ray_cluster/sweep.sh [KEY=VALUE...]
#
# A sweep over a Ray cluster. Here the cluster has two nodes on this machine. For one of several machines, leave out the
# second `ray start`, give the head --node-ip-address with an address that the others reach, copy the token file to
# each of them, and run there: RAY_AUTH_MODE=token ray start --address=HEAD:PORT. fedsam, and files that data sets are
# read from, must lie in the same place everywhere; a job writes its runs where it runs, so give a shared folder, `out=...`.
set -euo pipefail

port=${PORT:-6399}
folder=$(mktemp -d)
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$folder/token" RAY_USAGE_STATS_ENABLED=0
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH"  # who has it may run code here
chmod 600 "$RAY_AUTH_TOKEN_PATH"

start() { ray start --block --num-cpus=1 --disable-usage-stats --include-dashboard=false "$@" > "$folder/$node.log" 2>&1 & }
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$folder"' EXIT

node=head; start --head --port="$port" --node-ip-address=127.0.0.1 --temp-dir="$folder"
there() { python -c "import ray; ray.init('127.0.0.1:$port')" > "$folder/there.log" 2>&1; }
for _ in {1..20}; do there && break; kill -0 $!; sleep 1; done
node=second; start --address="127.0.0.1:$port"

# Four settings with two seeds each, one run on each core of the cluster at a time.
fedsam sweep client.name=sgd,asam data.alpha=0.1,100 rounds=40 --seeds 2 --workers 0 --address "127.0.0.1:$port" "$@"
