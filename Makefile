PYTHON ?= python3
DATASET ?= planted
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed

.PHONY: run test docs scatter lint clean

# A run of the embedded data takes a minute and may be lost; others are not.
AGAIN := $(if $(filter planted,$(DATASET)),--overwrite)

# Trains IEDR: make run [DATASET=frappe] [ROOT=folder] [ARGS='--preset paper'].
run: $(INSTALLED)
	$(BIN)/python benchmarks/iedr.py --dataset $(DATASET) $(if $(ROOT),--root "$(ROOT)") \
		$(AGAIN) $(ARGS)

# In two processes, each of which takes whole files: fixtures of modules cost the most.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Builds the pages; any warning is an error. They are in docs/_build/html.
docs: $(DOCS_INSTALLED)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# Optional: compiles torch-scatter, some minutes. Its build imports the torch that is
# installed, so it cannot be isolated, and a cached wheel may belong to another torch.
scatter: $(INSTALLED)
	$(BIN)/pip install -q setuptools wheel
	$(BIN)/pip install -q --no-build-isolation --no-cache-dir "torch-scatter==2.1.2"
	$(BIN)/python -c "import torch_scatter"

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .*_cache .hypothesis .coverage htmlcov

# One environment for all: the extra `test` includes `train` and `plot`.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test,dev]"
	touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	touch $@
