#!/usr/bin/env bash
# Tests under Slurm: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]
# GPUS (8), GPUS_PER_NODE (8; 0 for CPUs), CPUS_PER_TASK (5) and SRUN_ARGS come from the environment.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]" >&2; exit 2; }
partition=$1; job=$2; config=$3; checkpoint=$4; shift 4
tools=$(cd "$(dirname "$0")" && pwd)
tasks=${GPUS:-8}; per_node=${GPUS_PER_NODE:-8}
gres=(); [ "$per_node" = 0 ] || gres=(--gres="gpu:$per_node" --ntasks-per-node="$per_node")
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck disable=SC2086  # SRUN_ARGS are several words
exec srun -p "$partition" --job-name="$job" ${gres[@]+"${gres[@]}"} --ntasks="$tasks" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$tools/test.py" "$config" "$checkpoint" --launcher slurm "$@"
