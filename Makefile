PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

PIP_LOG := .venv/pip.log
STAMP := .venv/.stamp$(if $(CUDA),-cuda)
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: help run cost ui track experiments test models check lint docs collect evidence benchmarks gpu chaos replications lock wheel site .venv

# A target's comment is its line of help, and so is each line that begins with "#:".
help: # shows this list
	@awk -F ': .*# |: # ' '/^[a-z]+: .*# /{ printf "make %-13s %s\n", $$1, $$2 } /^#:/{ print substr($$0, 4) }' $(firstword $(MAKEFILE_LIST))

#:
#: The study:
run: $(STAMP) # installs the packages into .venv, then runs the study; what is up to date does not run again
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "ERROR: dvc repro needs a git repository; clone the project instead of unpacking an archive" >&2; exit 1; }
	@python -m stages.run $(PROFILE)

cost: $(STAMP) # estimates the hours that the study would take on this machine
	@python -m pipeline.jobs.cost $(PROFILE)

ui: $(STAMP) # starts MLflow, and prints the address that opens the trials of the study
	@python -m pipeline.tracking.ui

track: $(STAMP) # brings MLflow up to date, for instance after `dvc pull`
	@python -m stages.track

# Files that stages depend on are left out: `dvc exp show` has a column for each.
experiments: $(STAMP) # compares the experiments that `dvc exp run` made: what they changed, and what came out
	@dvc exp show --only-changed --hide-workspace --no-pager --drop \
		'Created|.*/|(constraints.txt|data|trials|spectra|measurements|fixed_points|predictor)$$'

#:
#: For development:
test: lint # all checks and all tests
	pytest -n auto --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

models: $(STAMP) # installs the libraries of docs/models.md, so that `make test` tests them too
	@python -m pip install -q --disable-pip-version-check --no-deps -r tests/models.txt

check: lint # all checks, and the tests that are fast
	pytest -q -n auto --dist loadfile -m "not slow"

lint: $(STAMP) # format, style, types, and which package may import which
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-cache --no-logo

docs: $(STAMP) # writes the pages that are made from the code and from the last run
	python -c "from pipeline.predictor.feature_table import documentation as d; print(d(), end='')" > docs/.page && mv docs/.page docs/features.md
	python -m pipeline.report.results
	PYTHONPATH=. python tests/systems.py > docs/.page && mv docs/.page docs/oracles.md
	python -m benchmarks.bad_inputs > docs/.page && mv docs/.page docs/bad_inputs.md

collect: $(STAMP) # adds the feature table of the last run to the trials that come with the library
	python -m pipeline.predictor.collect

evidence: $(STAMP) # evaluates the predictor on these trials again, in twenty minutes, for docs/evidence.md
	python -m pipeline.predictor.judge
	python -m pipeline.report.card
	python -m benchmarks.ablation > docs/.page && mv docs/.page docs/ablation.md

gpu: # compares a GPU with the CPU in at most eight minutes; needs torch with CUDA, and no .venv
	$(PYTHON) -m benchmarks.gpu > docs/.page; code=$$?; mv docs/.page docs/gpu.md; exit $$code

chaos: $(STAMP) # kills a small study thirty times, in ten minutes, for docs/chaos.md
	python -m benchmarks.chaos > docs/.page; code=$$?; mv docs/.page docs/chaos.md; exit $$code

benchmarks: $(STAMP) # measures all timings of docs/, in about an hour on an otherwise idle machine
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

replications: $(STAMP) # reproduces related work, in 45 minutes; what has a result does not run again
	python -m replications

# The packages of constraints-docs.txt go into an environment of their own; the library is read there, and not run.
site: .venv-docs/.stamp # builds the documentation in site/, which needs no network to be read; warnings are errors
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict && echo "the documentation is in site/index.html"

.venv-docs/.stamp: constraints-docs.txt
	@$(PYTHON) -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip install -qq --disable-pip-version-check -r constraints-docs.txt
	@ln -sfn ../../../../pipeline "$$(echo .venv-docs/lib/python3*/site-packages)/rnn_stability"
	@touch $@

wheel: $(STAMP) # builds the wheel and the source archive in dist/
	@rm -rf dist && python -m build -q --outdir dist && ls -l dist

lock: # pins the newest versions that pyproject.toml allows in constraints.txt and constraints-docs.txt
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install -q "$(TORCH)" ".[study,dev]"
	.lock/bin/pip freeze --exclude rnn-stability | sed 's/+cpu$$//' > constraints.txt
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install -q mkdocs-material 'mkdocstrings[python]' "$$(grep '^ruff==' constraints.txt)"
	.lock/bin/pip freeze > constraints-docs.txt
	rm -rf .lock

#:
#: Options, such as in `make run PROFILE=wide`:
#:   PROFILE=wide       lays profiles/wide.yaml over params.yaml first (run, cost); PROFILE=default takes it away
#:   CUDA=1             installs torch with CUDA (all targets that use .venv)
#:   PYTHON=python3.12  makes .venv with this interpreter, which is Python 3.11 or newer

.venv: $(STAMP)

# CUDA=1 installs torch from the default index, where the Linux build includes CUDA, and not from a folder of local wheels.
$(STAMP): pyproject.toml constraints.txt
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(if $(CUDA),@.venv/bin/python -m pip uninstall -qy torch)
	@echo "installing the packages of constraints.txt, a minute or two; pip's log is $(PIP_LOG)"
	@$(if $(CUDA),PIP_FIND_LINKS= PIP_EXTRA_INDEX_URL= ).venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -r constraints.txt >$(PIP_LOG) 2>&1 \
		|| { code=$$?; tail -n 4 $(PIP_LOG) >&2; echo "ERROR: the packages cannot be installed; pip's log is $(PIP_LOG)" >&2; exit $$code; }
	@rm -f .venv/.stamp* && touch $@
