# Two commands do everything on a machine with Python (3.11 or later) and make:
#   make demo   the demonstration
#   make test   lint, type check and the whole test suite
# Beside them, make slow runs the tests that take minutes, such as Flower as separate processes, and make torture tries to break runs in every way it
# knows (TORTURE=--long for a night) and prints what was survived. make docs builds the documentation into site/, make
# tutorials executes its notebooks anew, and make dist makes a wheel and a source archive.
# make every is the part of it that walks every combination of parts on a GPU that is not there.
# make gpu is for a machine with a GPU, without a network: it checks and measures for eight minutes (bench-gpu.jsonl)
# with the Python there, PYTHON=..., that has torch, numpy, scipy, scikit-learn, rich, typer and safetensors; what else
# is needed make wheels puts into wheels/, for Python GPU_PYTHON, to be carried there.
# Both make .venv if there is none, reuse it while pyproject.toml stays the same, and make it anew when that changes.

PYTHON ?= python3
GPU_PYTHON ?= 3.12
BIN := .venv/bin
# Files in the order of tests/conftest.py, on two processes.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
READY := .venv/ready-$(firstword $(shell cksum < pyproject.toml))

.PHONY: demo test slow every gpu wheels torture docs tutorials dist lint format clean

demo: $(READY)
	$(BIN)/fedsam compare

test: $(READY)-dev lint
	$(BIN)/python -m pytest $(SPREAD)

slow: $(READY)-dev
	$(BIN)/python -m pytest -m 'slow or every' $(SPREAD) $$(grep -rlE 'mark.(slow|every)' tests --include='*.py')

every: $(READY)-dev
	$(BIN)/python -m pytest -m every $(SPREAD) tests/gpu/test_every_part.py

gpu:
	$(PYTHON) -m tests.gpu.everything bench-gpu.jsonl

wheels: $(READY)
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --python-version $(GPU_PYTHON) \
	  --platform manylinux_2_17_x86_64 --dest wheels annotated-types typing-inspection \
	  $$($(BIN)/python -m pip freeze | grep '^pydantic')

torture: $(READY)-dev
	$(BIN)/python -m fedsam.torture $(TORTURE)

docs: $(READY)-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

tutorials: $(READY)-dev
	$(BIN)/python docs/hooks/execute.py

dist: $(READY)-dev
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*

lint: $(READY)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m fedsam.reference

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist site

$(READY):
	rm -rf .venv
	$(PYTHON) -c 'import sys; sys.exit("fedsam needs Python 3.11 or later, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	@echo 'Installing into .venv. PyTorch for Linux brings CUDA, several GB to fetch. On a machine without a GPU:'
	@echo '  UV_TORCH_BACKEND=cpu make $(or $(MAKECMDGOALS),demo)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --editable .
	touch $@

$(READY)-dev: | $(READY)
	$(BIN)/uv pip install --python $(BIN)/python --editable '.[dev]'
	touch $@
