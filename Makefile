# Needs bash, make and Python 3.11, nothing else. `make` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PROFILE ?=
PORT ?= 5001
NAME ?=
BECAUSE ?=
SHOPS ?=
STAMP := .venv/installed.lock
RUN := .venv/bin/python -m
# The interpreter that `make up` keeps warm, where it is up and knows the packages that are installed.
QUICK = $(if $(shell [ .vitrine/warm/python -nt $(STAMP) ] && echo yes),.vitrine/warm/python -m,$(RUN))
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH :=
export PYTHONUNBUFFERED := 1
export DO_NOT_TRACK := true

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=tiny|smoke|default|full   for demo, stage, test-shops and bench-orchestration; NAME=... for stage, promote, rollback, serve"

.PHONY: demo
demo: .venv ## the whole pipeline once through Airflow, with one closing table (PROFILE=...)
	@$(RUN) pipelines.demo $(if $(PROFILE),--profile $(PROFILE))

.PHONY: up
up: .venv ## Airflow, MLflow, the report and the shop as pages on loopback; prints the addresses
	@$(RUN) pipelines.services.stack up

.PHONY: down
down: .venv ## stop what `make up` started
	@$(RUN) pipelines.services.stack down

.PHONY: cluster cluster-down cluster-packages
cluster: .venv ## the services of a cluster as processes on loopback (docs/cluster.md)
	@$(RUN) pipelines.services.cluster_run up
cluster-down: .venv ## stop what `make cluster` started
	@$(RUN) pipelines.services.cluster_run down
cluster-packages: .venv ## the Python packages that `make cluster` needs beyond the others
	@$(RUN) pip install --quiet --no-deps --require-hashes --disable-pip-version-check \
		-r docker/cluster.lock -r docker/local.lock

.PHONY: spark spark-down spark-packages
spark: .venv ## a master and a worker of Spark as processes on loopback (docs/cluster.md)
	@$(RUN) pipelines.services.spark up
spark-down: .venv ## stop what `make spark` started
	@$(RUN) pipelines.services.spark down
spark-packages: .venv ## PySpark, for tables on Spark; Java 17 or later is yours to install
	@$(RUN) pip install --quiet --no-deps --require-hashes --disable-pip-version-check -r docker/spark.lock

.PHONY: repro
repro: .venv ## the same graph without Airflow: dvc repro
	@$(RUN) pipelines.cache || true
	@$(RUN) dvc repro
	@$(RUN) pipelines.run_page

.PHONY: stage
stage: .venv ## one stage by name: make stage NAME=sentiment (PROFILE=...)
	@if [ -z "$(NAME)" ]; then echo "which? make stage NAME=...; one of:"; $(RUN) dvc stage list --name-only; exit 64; fi
	@$(RUN) pipelines.run "$(NAME)" $(if $(PROFILE),--profile $(PROFILE))

.PHONY: waiting
waiting: .venv ## the challengers that wait for a person, with their figures
	@$(QUICK) pipelines.verdict waiting

.PHONY: promote rollback
promote: .venv ## make a waiting challenger the champion: make promote NAME=sentiment BECAUSE="..."
	@$(QUICK) pipelines.verdict approve "$(NAME)" $(if $(BECAUSE),--because "$(BECAUSE)")
rollback: .venv ## bring the champion before this one back: make rollback NAME=sentiment BECAUSE="..."
	@$(QUICK) pipelines.verdict rollback "$(NAME)" $(if $(BECAUSE),--because "$(BECAUSE)")

.PHONY: serve
serve: .venv ## a champion as a web service on loopback, by MLflow as it is: make serve NAME=sentiment (PORT=5001)
	@if [ -z "$(NAME)" ]; then echo "which? make serve NAME=...; as \`make waiting\` and MLflow's pages name them"; exit 64; fi
	@MLFLOW_TRACKING_URI="$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/.vitrine/mlflow/mlflow.db}" \
		$(RUN) mlflow models serve -m "models:/vitrine.$(NAME)@champion" --env-manager local -h 127.0.0.1 -p $(PORT)

.PHONY: daily
daily: .venv ## set the daily DAGs going: monitor, lists, retention (after make up)
	@$(RUN) pipelines.services.stack daily

.PHONY: lists
lists: .venv ## have Airflow make everybody's list as of past days: make lists FROM=2017-12-05 TO=2017-12-11 (after make up)
	@$(RUN) pipelines.services.stack lists "$(FROM)" "$(or $(TO),$(FROM))"

.PHONY: monitor
monitor: .venv ## look at the data and the lists now, as the daily DAG does
	@$(RUN) pipelines.monitor

.PHONY: retention
retention: .venv ## name what no rule keeps, and remove it with REMOVE=yes
	@$(RUN) pipelines.retention $(if $(filter yes,$(REMOVE)),,--dry-run)

# The workers share the cores: threads within them would only get in each other's way.
test test-unit test-airflow test-spark test-cluster story test-shops: export OMP_NUM_THREADS := 1

.PHONY: test
test: .venv ## all tests but those that have a target of their own: test-airflow, test-smoke, story, test-shops, test-cluster
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) pytest tests --ignore tests/airflow --ignore tests/story --ignore tests/shops --ignore tests/cluster -n logical --maxprocesses 4 --dist loadgroup --durations 20

.PHONY: test-unit
test-unit: .venv ## the unit tests alone
	@$(RUN) pytest tests/unit -n logical --maxprocesses 4

.PHONY: test-airflow
test-airflow: .venv ## the real Airflow: stopped and failing in mid-run, and asking a person
	@$(RUN) pytest tests/airflow

.PHONY: test-smoke
test-smoke: .venv ## the smoke profile through the real Airflow, checked
	@VITRINE_TEST_PROFILE=smoke $(RUN) pytest tests/pipeline/test_airflow.py -s

.PHONY: story
story: .venv ## a model's life, told and checked: train, a week passes, refuse, ask, approve, roll back
	@$(RUN) pytest tests/story -s

.PHONY: test-shops
test-shops: .venv ## shops in your own folder, from files to models, lists and a report: make test-shops SHOPS=folder
	@VITRINE_SHOPS="$(SHOPS)" VITRINE_TEST_PROFILE="$(or $(PROFILE),smoke)" $(RUN) pytest tests/shops -s

.PHONY: test-spark
test-spark: spark-packages ## the tests of tables on Spark, which `make test` skips without PySpark; needs Java 17 or later
	@java -version >/dev/null 2>&1 || { echo "no java on the PATH: apt-get install openjdk-17-jre-headless" >&2; exit 69; }
	@$(RUN) pytest tests/data/test_engines.py tests/data/test_spark_cluster.py

.PHONY: test-cluster
test-cluster: .venv ## the whole pipeline on two workers without a common disk, and what may happen to it; skips what is not installed
	@$(RUN) pytest tests/cluster -s -rs

.PHONY: types
types: .venv ## check the types of models/ and pipelines/ (mypy, strict)
	@$(RUN) mypy

.PHONY: docs
docs: .venv ## the documentation as pages in .vitrine/site; a dead link fails
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build
	@echo "open .vitrine/site/index.html"

.PHONY: notice
notice: .venv ## write NOTICE anew from pipelines/packaged/packages.yaml
	@$(RUN) docs.third_party

.PHONY: audit
audit: .venv .vitrine/audit/bin/pip-audit ## bills of materials in .vitrine/bom; known vulnerabilities of locked packages fail
	@$(RUN) tests.security.audit .vitrine/audit/bin

.vitrine/audit/bin/pip-audit:
	@python3 -m venv .vitrine/audit && .vitrine/audit/bin/pip install --quiet cyclonedx-bom pip-audit

.PHONY: bench-orchestration
bench-orchestration: .venv ## what Airflow costs beyond the work itself (PROFILE=...)
	@$(RUN) benchmarks.orchestration $(if $(PROFILE),--profile $(PROFILE))

.PHONY: pictures
pictures: .venv ## take the pictures of the documentation anew (needs chromium; after make demo)
	@$(RUN) docs.pictures

.PHONY: lock
lock: .venv .vitrine/uv/bin/uv ## resolve the dependencies anew into requirements.lock, with hashes
	@.vitrine/uv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --extra dev \
		--no-emit-index-url --output-file requirements.lock pyproject.toml

# What the product's lock file holds stays as it is there, but for python-dateutil (docker/cluster.lock says why).
.PHONY: lock-cluster
lock-cluster: .vitrine/uv/bin/uv ## resolve what a cluster needs beyond that into docker/cluster.lock, local.lock and spark.lock
	@bash docker/lock.sh .vitrine/uv/bin/uv

# pip fetches the build of torch that has no CUDA: uv would look for all the rest in that index, too.
.PHONY: lock-peers
lock-peers: .venv .vitrine/uv/bin/uv ## resolve what the recommenders of other libraries need into benchmarks/peers.lock
	@wheels=$$(mktemp -d); trap 'rm -r "$$wheels"' EXIT; lock=benchmarks/peers.lock; \
	$(RUN) pip download --quiet --no-deps --dest "$$wheels" -r benchmarks/peers-torch.txt; \
	{ echo '# What RecTools and RecBole need beside torch, made by `make lock-peers`.'; \
		{ cat benchmarks/peers.in; grep ^torch== benchmarks/peers-torch.txt; } | .vitrine/uv/bin/uv pip compile \
			--quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
			--excludes benchmarks/peers-without.txt --no-emit-package torch --find-links "$$wheels" -; } >$$lock.partial; \
	mv $$lock.partial $$lock

.vitrine/uv/bin/uv:
	@python3 -m venv .vitrine/uv && .vitrine/uv/bin/pip install --quiet uv

# The lock file that is installed lies beside the packages, written last: an interrupted installation is taken up again.
.PHONY: .venv
.venv:
	@cmp -s requirements.lock $(STAMP) || $(MAKE) install

.PHONY: install
install:
	@python=; PATH="$${PATH#*:}"; for name in "$${PYTHON:-}" python3.11 python3 python; do \
		if [ -n "$$name" ] && command -v "$$name" >/dev/null && \
			"$$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11 is needed and was not found (python3 is $$(python3 --version 2>/dev/null || echo absent))." >&2; \
		echo "Install it (Debian 12: apt install python3.11-venv; or pyenv install 3.11), or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 69; \
	fi; \
	free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	if [ ! -e .venv/bin/python ] && [ "$$free" -lt 9 ]; then \
		echo "The environment needs 8 GB; $$free GB are free in $$PWD." >&2; exit 69; \
	fi; \
	mkdir -p .vitrine/logs; log=.vitrine/logs/install.log; \
	rm -f $(STAMP); \
	if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
		"$$python" -m venv --clear .venv >$$log 2>&1 || { cat $$log >&2; \
			echo "no environment could be made in .venv: is the package python3.11-venv there?" >&2; exit 69; }; \
	fi; \
	total=$$(grep -c '^[A-Za-z0-9].*==' requirements.lock); \
	echo "installing $$total packages into .venv (once; about 3 minutes and 7.5 GB); log: $$log"; \
	.venv/bin/python -m pip install --no-deps --require-hashes --disable-pip-version-check --progress-bar off \
		-r requirements.lock 2>&1 | tee $$log | awk -v total=$$total ' \
			/^(Collecting|Requirement already satisfied)/ {n++; if (n % 50 == 0) {print "  " n " of " total; fflush()}} \
			/^Installing collected/ {print "  writing them"; fflush()}' \
		|| { grep -iE '^ *(error|warning)' $$log | tail -n 8 >&2; \
			echo "the packages could not be installed (see $$log); run it again to go on from here" >&2; exit 69; }; \
	.venv/bin/python -m pip check >>$$log 2>&1 || { tail -n 8 $$log >&2; \
		echo "the packages don't fit together; remove .venv and run it again" >&2; exit 70; }; \
	cp requirements.lock $(STAMP).partial; mv $(STAMP).partial $(STAMP); \
	echo "the environment is ready"
