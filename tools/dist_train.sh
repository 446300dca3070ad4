#!/usr/bin/env bash
# Train with several processes on this host: tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# On GPUs one process a GPU (nccl), without GPUs on the CPU (gloo).
# Several hosts: the same command on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set. They
# wait for each other for RDZV_TIMEOUT seconds (600).
#   MAX_RESTARTS=3    start all processes again when one dies; give --resume, so that they go on.
#                     Several hosts then also take LOCAL_ADDR, this host's own address, where the
#                     others do not know it by its name.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 CONFIG PROCESSES [options of tools/train.py]" >&2
  exit 2
fi
config=$1
processes=$2
shift 2
restarts=${MAX_RESTARTS:-0}
# shellcheck source=tools/check_launch.sh
source "$(dirname "$0")/check_launch.sh"
# A store of its own for each start: in a shared one a process that is started again can read the
# address that another had before.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
where=(--standalone)
if [ "${NNODES:-1}" -gt 1 ]; then
  where=(--node-rank="$NODE_RANK" --master-addr="$MASTER_ADDR" --master-port="${PORT:-29500}"
    --rdzv-conf="timeout=${RDZV_TIMEOUT:-600}")
  if [ "$restarts" -gt 0 ]; then
    # Hosts that meet anew: the one of rank 0 keeps the store, also where it is not known by name.
    is_host=$([ "$NODE_RANK" -eq 0 ] && echo 1 || echo 0)
    where=(--rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:${PORT:-29500}" --rdzv-id="${JOB_ID:-train}"
      --rdzv-conf="is_host=$is_host,join_timeout=${RDZV_TIMEOUT:-600}" ${LOCAL_ADDR:+--local-addr="$LOCAL_ADDR"})
  fi
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nnodes="${NNODES:-1}" --max-restarts="$restarts" \
  --nproc-per-node="$processes" "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
