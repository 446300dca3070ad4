#!/usr/bin/env bash
# Evaluate with several processes on this host: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# On GPUs one process a GPU (nccl), without GPUs on the CPU (gloo).
# Several hosts: the same command on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 CONFIG CHECKPOINT PROCESSES [options of tools/test.py]" >&2
  exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
# shellcheck source=tools/check_launch.sh
source "$(dirname "$0")/check_launch.sh"
where=(--standalone)
if [ "${NNODES:-1}" -gt 1 ]; then
  where=(--node-rank="$NODE_RANK" --master-addr="$MASTER_ADDR" --master-port="${PORT:-29500}"
    --rdzv-conf="timeout=${RDZV_TIMEOUT:-600}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nnodes="${NNODES:-1}" \
  --nproc-per-node="$processes" "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
