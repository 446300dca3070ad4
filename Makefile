# Everything here sets itself up: `make train` and `make test` need only Python >= 3.10, git and make.
#
#   PYTHON=/path/to/python   use that interpreter as it is; nothing is installed
#   VENV=/path/to/venv       use, or create, this virtual environment (default: .venv)
#   TORCH=torch==2.4.1       another PyTorch (default: 2.13.0 without a GPU, the newest with one)
#   CPU_INDEX='...'          index of CPU builds of PyTorch, asked first where there is no GPU
#   PIP_ARGS='...'           more arguments for pip; then CPU_INDEX is not asked
#   ARGS='...'               more arguments for the command itself, e.g. make train ARGS=--resume
#   JOBS=4                   test processes side by side (default: 2)

CONFIG   ?= configs/ppyoloe/ppyoloe_short_digits.py
WORK_DIR ?= work_dirs/$(basename $(notdir $(CONFIG)))
VENV     ?= .venv
JOBS     ?= 2
EXTRAS   ?= lite,digits,tensorboard,dev
TORCH    ?= $(if $(shell command -v nvidia-smi 2>/dev/null),torch>=2.1,torch==2.13.0)
# PyTorch's own index of CPU builds, asked first where there is no GPU: pip's default index
# has the CUDA build for Linux, gigabytes of it. Empty: do not ask.
CPU_INDEX ?= $(if $(shell command -v nvidia-smi 2>/dev/null)$(PIP_ARGS),,https://download.pytorch.org/whl/cpu)

ifdef PYTHON
PY    := $(PYTHON)
READY :=
else
PY    := $(VENV)/bin/python
READY := $(VENV)/.registry_losses_ready
endif

.PHONY: help train test test-slow test-kill test-launchers test-versions lint docs grid fuzz benchmark env clean
.DEFAULT_GOAL := help

help:
	@echo 'make train      train the digits detector, evaluate it, leave pictures in work_dirs/'
	@echo 'make test       run the tests;  make test-slow: also the long ones'
	@echo 'make test-kill  kill trainings at random moments and resume them (minutes)'
	@echo 'make test-versions   the fast tests with the oldest and the newest PyTorch, and with the forks of MMEngine'
	@echo 'make lint       ruff and mypy'
	@echo 'make docs       write the pages that are made from the code'
	@echo 'make grid       train every pairing of parts for a few steps, write docs/pairing_grid.md'
	@echo 'make fuzz       thousands of damaged files, configs and command lines: none may end in a traceback'
	@echo 'make mmdet-matrix  our parts in mmdet and its parts here, in an environment of its own; docs/mmdet.md'
	@echo 'make test-launchers  train under Slurm, mpirun and torchrun with several agents (what is installed of them)'
	@echo 'make benchmark  time losses and assigners'
	@echo 'make env        only prepare the environment ($(VENV), or PYTHON=... to use your own)'

env: $(READY)

# One stamp file: the environment is prepared again only when the requirements change.
$(VENV)/.registry_losses_ready: setup.cfg pyproject.toml
	@set -e; \
	if [ ! -x '$(VENV)/bin/python' ]; then \
	  found=; \
	  for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then \
	      found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo 'No Python >= 3.10 on the PATH. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python' >&2; exit 1; fi; \
	  echo "Creating $(VENV) with $$($$found --version)"; \
	  $$found -m venv '$(VENV)' || $$found -m virtualenv -q '$(VENV)' || { \
	    rm -rf '$(VENV)'; \
	    echo "$$found has no venv module (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }; \
	fi; \
	'$(VENV)/bin/python' -m pip --version >/dev/null 2>&1 || '$(VENV)/bin/python' -m ensurepip; \
	echo 'Installing $(TORCH), then registry_losses[$(EXTRAS)] (a few minutes, once)'; \
	if [ -z '$(CPU_INDEX)' ] || ! '$(VENV)/bin/python' -m pip install -q --timeout 10 --retries 0 \
	    --index-url '$(CPU_INDEX)' '$(TORCH)' 2>/dev/null; then \
	  [ -z '$(CPU_INDEX)' ] || echo '$(CPU_INDEX) cannot be used; taking what pip has'; \
	  '$(VENV)/bin/python' -m pip install -q $(PIP_ARGS) '$(TORCH)'; \
	fi; \
	'$(VENV)/bin/python' -m pip install -q $(PIP_ARGS) -e '.[$(EXTRAS)]'
	@touch $@

train: $(READY)
	$(PY) tools/train.py $(CONFIG) --work-dir $(WORK_DIR) $(ARGS)

# One thread a test process: the processes already share the cores.
test: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m 'not slow' $(if $(shell $(PY) -c 'import xdist' 2>/dev/null && echo yes),-n $(JOBS) --dist loadfile) $(ARGS)

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q --ignore tests/test_launchers $(ARGS)

# Kills trainings with -9 at 25 random moments, in 1 and 2 processes, and resumes them.
test-kill: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -s -m kill tests/test_engine/test_kill.py $(ARGS)

# Half an hour on two cores; what is not installed is skipped, and says so. Slurm needs root.
test-launchers: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q tests/test_launchers $(ARGS)

# Environments of their own, in .versions/: VERSIONS=forks for one of them.
test-versions:
	bash tests/versions.sh $(VERSIONS)

lint: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: $(READY)
	$(PY) -m registry_losses.config.compat > docs/openmmlab_keys.md
	$(PY) -m registry_losses.commands.pairing_page > docs/pairing.md
	$(PY) -m registry_losses.testing.reference.page losses > docs/plain_losses.md

# Goes on where it was stopped, and begins anew where the source has changed, unless ARGS=--keep-old.
grid: $(READY)
	OMP_NUM_THREADS=1 $(PY) tools/pairing_grid.py --jobs $(JOBS) --page docs/pairing_grid.md --picture docs/images/pairing_grid.png $(ARGS)

# ARGS='--cases 500 --targets coco_json' for less, --only TARGET:SEED for one case again.
fuzz: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m tests.test_fuzz.run --cases 5000 $(ARGS)

# mmdet 3.3 asks for mmcv below 2.2; without its compiled operators, which the tool stands in for.
MMDET_VENV ?= .venv-mmdet
$(MMDET_VENV)/.ready: setup.cfg $(READY)
	$(PY) -m venv '$(MMDET_VENV)'
	'$(MMDET_VENV)/bin/python' -m pip install -q $(PIP_ARGS) 'setuptools<81' '$(TORCH)' 'mmengine>=0.10.5'
	'$(MMDET_VENV)/bin/python' -m pip install -q $(PIP_ARGS) 'mmcv-lite==2.1.0' 'mmdet==3.3.0'
	'$(MMDET_VENV)/bin/python' -m pip install -q $(PIP_ARGS) -e .
	@touch $@

mmdet-matrix: $(MMDET_VENV)/.ready
	OMP_NUM_THREADS=1 '$(MMDET_VENV)/bin/python' tools/compatibility/mmdet_matrix.py --page docs/mmdet.md $(ARGS)

benchmark: $(READY)
	$(foreach tool,$(wildcard tools/benchmark/assigners.py tools/benchmark/losses.py),$(PY) $(tool) $(ARGS) &&) true

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
