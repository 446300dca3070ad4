# What dist_train.sh and dist_test.sh check before torchrun starts, whose own errors are tracebacks.
# Reads processes, NNODES, NODE_RANK, PORT, MAX_RESTARTS and RDZV_TIMEOUT.
refuse() {
  echo "$0: $1" >&2
  exit 2
}

whole='^[0-9]+$'
if ! [[ $processes =~ $whole && $processes -gt 0 || $processes =~ ^(auto|gpu|cpu)$ ]]; then
  refuse "expected the number of processes, got '$processes'"
fi
for name in NNODES NODE_RANK PORT MAX_RESTARTS RDZV_TIMEOUT; do
  if [[ -n ${!name:-} && ! ${!name} =~ $whole ]]; then
    refuse "$name: expected a whole number, got '${!name}'"
  fi
done
if [ "${NNODES:-1}" -gt 1 ]; then
  [ -n "${NODE_RANK:-}" ] || refuse "NNODES=$NNODES: set NODE_RANK to this host's number, from 0"
  [ -n "${MASTER_ADDR:-}" ] || refuse "NNODES=$NNODES: set MASTER_ADDR to the address of the host of NODE_RANK 0"
  if [ "$NODE_RANK" -ge "$NNODES" ]; then
    refuse "NODE_RANK=$NODE_RANK: of NNODES=$NNODES hosts the last is $((NNODES - 1))"
  fi
  if ! "${PYTHON:-python}" -c 'import socket, sys; socket.getaddrinfo(sys.argv[1], None)' "$MASTER_ADDR" 2>/dev/null; then
    refuse "MASTER_ADDR=$MASTER_ADDR has no network address that this machine can find"
  fi
fi
