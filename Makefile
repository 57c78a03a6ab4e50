# make run   the whole study: .venv with pinned packages, then `dvc repro`; PROFILE=wide takes profiles/wide.yaml
# make test  all checks and tests
# make cost  what that study would take on this machine, in hours, before anything is run; PROFILE too
# make ui    the MLflow UI on the study's store
# Further: check, track, docs, benchmarks, replications, lock.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

STAMP := .venv/.stamp$(if $(CUDA),-cuda)
TORCH := $(shell grep '^torch==' constraints.txt)

# a profile never overwrites settings that lie nowhere else
define HAVE_PROFILE
[ -f profiles/$(PROFILE).yaml ] || { echo "ERROR: there is no profiles/$(PROFILE).yaml; there are $(notdir $(wildcard profiles/*.yaml))" >&2; exit 1; }
endef
define TAKE_PROFILE
known() { git diff --quiet HEAD -- params.yaml || for p in profiles/*.yaml; do cmp -s $$p params.yaml && return; done; }; \
	known || { echo "ERROR: params.yaml has changes of its own that PROFILE would overwrite; commit them or save them elsewhere" >&2; exit 1; }; \
	cp profiles/$(PROFILE).yaml params.yaml
endef

# STREAMS=2 runs two tasks' stages at a time: what many small instances, of one process each, lose in starting is halved
define SIDE_BY_SIDE
dvc repro --glob 'prepare@*' && dvc stage list --name-only | sed -n 's/^prepare@//p' | \
	xargs -P $(STREAMS) -I{} dvc --wait-for-lock repro --glob 'spectrum@{}-*' 'fixed_points@{}-*' &&
endef

.PHONY: run cost test check lint ui track docs benchmarks replications lock .venv

run: $(STAMP)
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "ERROR: dvc repro needs a git repository; clone the project instead of unpacking an archive" >&2; exit 1; }
	$(if $(PROFILE),@$(HAVE_PROFILE))
	$(if $(PROFILE),@$(TAKE_PROFILE))
	@python -m pipeline.config
	@begin=$$(date +%s); $(if $(STREAMS),$(SIDE_BY_SIDE)) dvc repro && echo "make run: everything up to date after $$(( $$(date +%s) - begin )) s"

cost: $(STAMP)
	$(if $(PROFILE),@$(HAVE_PROFILE))
	@python -m pipeline.training.cost $(if $(PROFILE),profiles/$(PROFILE).yaml,params.yaml)

test: lint
	pytest -n auto --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

check: lint # what to run while working
	pytest -q -m "not slow"

lint: $(STAMP)
	ruff format --check .
	ruff check .
	mypy

ui: $(STAMP)
	python -m pipeline.tracking.ui

track: $(STAMP) # what DVC restored from its cache, or a dead store missed, into MLflow
	python -m stages.track

docs: $(STAMP) # the pages that are made from the code, and from the last run
	python -c "from pipeline.predictor.features import documentation as d; print(d(), end='')" > docs/.page && mv docs/.page docs/features.md
	python -m pipeline.report.results
	PYTHONPATH=. python tests/systems.py > docs/.page && mv docs/.page docs/oracles.md

benchmarks: $(STAMP) # minutes, on a calm machine
	python -m benchmarks.spectra > docs/.page
	python -m benchmarks.parallel >> docs/.page
	python -m benchmarks.tracking >> docs/.page
	mv docs/.page docs/benchmarks.md

replications: $(STAMP) # related work done again, up to three quarters of an hour; what has a result is not run again
	python -m replications

lock: # newest versions that pyproject.toml allows
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install -q "$(TORCH)" ".[study,dev]"
	.lock/bin/pip freeze --exclude rnn-stability | sed 's/+cpu$$//' > constraints.txt
	rm -rf .lock

.venv: $(STAMP)

# CUDA=1 takes torch from the ordinary index, whose Linux build has CUDA, and not from a folder of local wheels.
$(STAMP): pyproject.toml constraints.txt
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(if $(CUDA),@.venv/bin/python -m pip uninstall -qy torch)
	@echo "installing the packages of constraints.txt, a minute or two"
	@$(if $(CUDA),PIP_FIND_LINKS= PIP_EXTRA_INDEX_URL= ).venv/bin/python -m pip install -q --disable-pip-version-check -r constraints.txt
	@rm -f .venv/.stamp* && touch $@
