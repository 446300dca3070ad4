#!/usr/bin/env bash
# Run the fast tests with other versions of PyTorch, MMEngine and MMCV, each in a virtual
# environment of its own: `make test-versions`, or one of them: `bash tests/versions.sh forks`.
#
#   PYTHON     Python of the environments (default: python3). PyTorch 2.1 has none for 3.12.
#   PIP_ARGS   more arguments for pip, for instance an index of CPU-only PyTorch builds
#   TESTS      what to run (default: the tests of the parts and of what stands on MMEngine)
#   VERSIONS_DIR   where the environments go (default: .versions)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
folder=${VERSIONS_DIR:-.versions}
read -r -a pip_args <<<"${PIP_ARGS:-}"
read -r -a tests <<<"${TESTS:-tests/test_structures tests/test_losses tests/test_assigners \
tests/test_samplers tests/test_coders tests/test_priors tests/test_ops tests/test_config \
tests/test_plugins tests/test_pose tests/test_heads tests/test_detectors tests/test_transforms tests/test_engine}"

# What stands beside the package's own requirements.
packages() {
  case $1 in
    oldest) echo 'torch==2.1.* numpy<2 mmengine==0.10.5 mmcv-lite==2.1.0' ;;
    newest) echo "${TORCH:-torch} mmengine mmcv-lite" ;;
    forks) echo "${TORCH:-torch} onedl-mmengine" ;;
    *) echo "no versions named $1; there are oldest, newest, forks" >&2; return 2 ;;
  esac
}

status=0
[ $# -gt 0 ] || set -- oldest newest forks
for name in "$@"; do
  read -r -a wanted <<<"$(packages "$name")"
  venv=$folder/$name
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  pip=("$venv/bin/python" -m pip install -q "${pip_args[@]}")
  "${pip[@]}" 'setuptools<82' wheel
  if [ "$name" = forks ]; then
    # They bear the import names of MMEngine and MMCV, so that those must not be there. From
    # source, and without compiled operators.
    "${pip[@]}" "${wanted[@]}"
    MMCV_WITH_OPS=0 "${pip[@]}" onedl-mmcv
    "${pip[@]}" scipy rich matplotlib faster-coco-eval scikit-learn pycocotools pytest hypothesis
    "${pip[@]}" --no-deps --no-build-isolation -e .
  else
    # In one command: a second one would take other versions of what the first was asked for.
    "${pip[@]}" --no-build-isolation "${wanted[@]}" -e '.[digits,dev]'
  fi
  echo "== $name"
  "$venv/bin/python" - <<'PY'
import sys
import mmcv, mmengine, numpy, torch
print('python', sys.version.split()[0], 'torch', torch.__version__, 'numpy', numpy.__version__,
      'mmengine', mmengine.__version__, 'mmcv', mmcv.__version__)
PY
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$venv/bin/python" -m pytest -q -m 'not slow' "${tests[@]}" || status=1
done
exit $status
