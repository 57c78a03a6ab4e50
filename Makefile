# make run   installs the pinned packages into .venv and runs the whole study with `dvc repro`;
#            PROFILE=wide first merges profiles/wide.yaml into params.yaml
# make test  runs all checks and tests
# make cost  estimates the hours that the study would take on this machine, before anything is run; PROFILE works here too
# make ui    starts the MLflow UI on the study's store; its last line is the address that opens the trials
# make evidence  evaluates the predictor again on the trials that come with the library
# make wheel builds what other people install
# Other targets: models, check, lint, track, docs, collect, benchmarks, gpu, chaos, replications, lock.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

STAMP := .venv/.stamp$(if $(CUDA),-cuda)
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: run cost test models check lint ui track docs collect evidence benchmarks gpu chaos replications lock wheel .venv

run: $(STAMP)
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "ERROR: dvc repro needs a git repository; clone the project instead of unpacking an archive" >&2; exit 1; }
	@python -m pipeline.core.config $(PROFILE)
	@python -m pipeline.core.mend
	@begin=$$(date +%s); dvc repro && python -m pipeline.report.times && echo "make run: everything up to date after $$(( $$(date +%s) - begin )) s"

cost: $(STAMP)
	@python -m pipeline.jobs.cost $(PROFILE)

test: lint
	pytest -n auto --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

models: $(STAMP) # installs the libraries of docs/models.md, so that `make test` runs their tests too
	@python -m pip install -q --disable-pip-version-check --no-deps -r tests/models.txt

check: lint # for use during development: skips the slow tests
	pytest -q -n auto --dist loadfile -m "not slow"

lint: $(STAMP)
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-cache --no-logo

ui: $(STAMP)
	@python -m pipeline.tracking.ui

track: $(STAMP) # logs results to MLflow that DVC restored from its cache or that the store missed
	python -m stages.track

docs: $(STAMP) # writes the pages that are generated from the code and from the last run
	python -c "from pipeline.predictor.feature_table import documentation as d; print(d(), end='')" > docs/.page && mv docs/.page docs/features.md
	python -m pipeline.report.results
	PYTHONPATH=. python tests/systems.py > docs/.page && mv docs/.page docs/oracles.md
	python -m benchmarks.bad_inputs > docs/.page && mv docs/.page docs/bad_inputs.md

collect: $(STAMP) # adds the feature table of the last run to the trials that come with the library
	python -m pipeline.predictor.collect

evidence: $(STAMP) # evaluates the predictor on the trials that come with the library, in about ten minutes, and writes docs/evidence.md
	python -m pipeline.predictor.judge
	python -m pipeline.report.card
	python -m benchmarks.ablation > docs/.page && mv docs/.page docs/ablation.md

gpu: # compares a GPU with the CPU in at most eight minutes; needs torch with CUDA, NumPy and SciPy, and no installation
	$(PYTHON) -m benchmarks.gpu > docs/.page; code=$$?; mv docs/.page docs/gpu.md; exit $$code

chaos: $(STAMP) # kills a small study thirty times, compares what it ends with, and writes docs/chaos.md, in about ten minutes
	python -m benchmarks.chaos > docs/.page; code=$$?; mv docs/.page docs/chaos.md; exit $$code

benchmarks: $(STAMP) # takes about an hour; run it on an otherwise idle machine
	python -m benchmarks.spectra > docs/.page && mv docs/.page docs/benchmarks.md
	python -m benchmarks.parallel > docs/.page && mv docs/.page docs/throughput.md
	python -m benchmarks.tracking > docs/.page && mv docs/.page docs/tracking.md
	python -m benchmarks.measuring > docs/.page && mv docs/.page docs/measuring.md
	python -m benchmarks.stranger > docs/.page && mv docs/.page docs/stranger.md
	python -m benchmarks.watching > docs/.page && mv docs/.page docs/watching.md
	python -m benchmarks.new_trainings > docs/.page && mv docs/.page docs/new_trainings.md
	python -m benchmarks.optuna_search > docs/.page && mv docs/.page docs/optuna.md
	python -m benchmarks.installation > docs/.page && mv docs/.page docs/installation.md
	python -m benchmarks.pictures

replications: $(STAMP) # reproduces related work, in up to three quarters of an hour; replications with a result do not run again
	python -m replications

wheel: $(STAMP) # builds the wheel and the source archive in dist/
	@rm -rf dist && python -m build -q --outdir dist && ls -l dist

lock: # pins the newest versions that pyproject.toml allows
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install -q "$(TORCH)" ".[study,dev]"
	.lock/bin/pip freeze --exclude rnn-stability | sed 's/+cpu$$//' > constraints.txt
	rm -rf .lock

.venv: $(STAMP)

# CUDA=1 installs torch from the default index, where the Linux build includes CUDA, and not from a folder of local wheels.
$(STAMP): pyproject.toml constraints.txt
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(if $(CUDA),@.venv/bin/python -m pip uninstall -qy torch)
	@echo "installing the packages of constraints.txt, a minute or two"
	@$(if $(CUDA),PIP_FIND_LINKS= PIP_EXTRA_INDEX_URL= ).venv/bin/python -m pip install -q --disable-pip-version-check -r constraints.txt
	@rm -f .venv/.stamp* && touch $@
