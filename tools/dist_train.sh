#!/usr/bin/env bash
# Trains in several processes of this machine: tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT. Without CUDA the processes talk by gloo.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG PROCESSES [flags of tools/train.py]" >&2; exit 2; }
config=$1; processes=$2; shift 2
tools=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}" --nproc_per_node="$processes" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
