#!/usr/bin/env bash
# Train with several processes on this host: tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# On GPUs one process a GPU (nccl), without GPUs on the CPU (gloo).
# Several hosts: the same command on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 CONFIG PROCESSES [options of tools/train.py]" >&2
  exit 2
fi
config=$1
processes=$2
shift 2
where=(--standalone)
if [ "${NNODES:-1}" -gt 1 ]; then
  where=(--node-rank="${NODE_RANK:?set NODE_RANK}" --master-addr="${MASTER_ADDR:?set MASTER_ADDR}" --master-port="${PORT:-29500}")
fi
"${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nnodes="${NNODES:-1}" \
  --nproc-per-node="$processes" "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
