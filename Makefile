# Builds and tests the book. `make help` lists the targets; README.md tells more.

PYTHON ?= python3
SEEDS ?= 10
VARIANT ?= 0
PORT ?= 8000

# What the caller has set up for other Pythons is nothing to the book's own.
unexport PYTHONPATH PYTHONHOME
export OMP_NUM_THREADS := 1
export PYTHONDONTWRITEBYTECODE := 1

bin := .venv/bin
code := dynattn tests tools

.NOTPARALLEL:
.PHONY: help env book pdf test serve lint format repo release claims bench course graders course-test clean

help:
	@echo "make book               build the book into _build/html, running every notebook that has changed"
	@echo "make pdf                print the built book into one file, _build/book.pdf (needs Chromium or Chrome)"
	@echo "make test               everything: lint, the book, all tests"
	@echo "make serve              show the built book at http://localhost:$(PORT)"
	@echo "make lint               check the form of code and notebooks (make format mends the code's)"
	@echo "make claims SEEDS=10    run the notebooks under many seeds (CHAPTERS=\"02 05\": these), and keep the worst values"
	@echo "make bench              measure the attention layers against torch's own, and the live figures"
	@echo "make repo URL=https://github.com/OWNER/NAME   write the repository's address everywhere"
	@echo "make release VERSION=1.2.3   write the version everywhere, test, commit and tag"
	@echo "make course             make the course kit in _build/course: notebooks for students and teachers, worksheets, assignments,"
	@echo "                        classroom.zip (VARIANT=2: with other numbers; WORKSHEETS=https://...: where they will be published)"
	@echo "make graders            install otter-grader and nbgrader beside the book; otter's autograders need it, before make course"
	@echo "make course-test        the course kit, with the graders themselves"
	@echo "make clean              remove what was built (_build; .venv stays)"
	@echo
	@echo "Needed: Python 3.11 to 3.14, on Linux (x86_64 or ARM64) or macOS 14 or newer on Apple silicon."
	@echo "Another Python than python3: make PYTHON=python3.12 book"

# The environment of requirements.txt in .venv, with the book's own package linked into it.
env:
	@$(PYTHON) tools/install.py $(if $(filter command environment,$(firstword $(origin PYTHON))),--chosen)

book: env
	@$(bin)/python tools/run.py
	@$(bin)/python tools/claims.py
	@$(bin)/python tools/quiz.py
	@$(bin)/python tools/pages.py
	@echo "The book is built: open file://$(CURDIR)/_build/html/index.html"

pdf: book
	@$(bin)/python tools/pdf.py
	@echo "The book is printed: open file://$(CURDIR)/_build/book.pdf"

lint: env
	@echo "check the form of the code"
	@$(bin)/ruff check --quiet $(code) book
	@$(bin)/ruff format --check --quiet $(code) || { echo "make format mends the form of these files." >&2; exit 1; }

format: env
	@$(bin)/ruff check --fix --quiet $(code) book; $(bin)/ruff format $(code)

test: lint book
	@echo "run the tests"
	@$(bin)/python -m pytest -n 2 --dist worksteal tests # a slow test does not keep its worker's others waiting

serve: book
	@$(bin)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

repo:
	@$(PYTHON) tools/repo.py '$(URL)'

release: env
	@$(bin)/python tools/release.py '$(VERSION)'

claims: env
	@$(bin)/python tools/run.py --seeds $(SEEDS) $(CHAPTERS)
	@$(bin)/python tools/claims.py records $(SEEDS) $(CHAPTERS)

bench: env
	@$(bin)/python tests/bench.py

course: book
	@$(bin)/python tools/course.py --variant '$(VARIANT)' --published '$(WORKSHEETS)'

graders: env
	@$(bin)/python tools/course_graders.py

course-test: graders course
	@$(bin)/python -m pytest tests/course/graders.py

clean:
	rm -rf _build
