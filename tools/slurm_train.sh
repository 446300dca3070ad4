#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
#   GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5   one task a GPU; GPUS_PER_NODE=0 trains on CPUs
#   SRUN_ARGS='--time=24:00:00'              more arguments for srun
# A job that is started again goes on by itself: give it --resume.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 PARTITION JOB_NAME CONFIG [options of tools/train.py]" >&2
  exit 2
fi
partition=$1
job=$2
config=$3
shift 3
tasks=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
gpus=()
if [ "$per_node" -gt 0 ]; then
  gpus=(--gres="gpu:$per_node" --ntasks-per-node="$per_node")
fi
# shellcheck disable=SC2086
exec srun --partition="$partition" --job-name="$job" ${gpus[@]+"${gpus[@]}"} --ntasks="$tasks" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
