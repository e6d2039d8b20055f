#!/usr/bin/env bash
# Tests in several processes of this machine: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT. Without CUDA the processes talk by gloo.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]" >&2; exit 2; }
config=$1; checkpoint=$2; processes=$3; shift 3
tools=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}" --nproc_per_node="$processes" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
