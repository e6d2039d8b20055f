# `make demo` and `make test` need nothing but Python 3.9 or newer and a shell; the other targets are for developers.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test test-slow test-all gpu coverage stacks lint docs clean

demo: $(VENV)/installed
	$(RUN) tools/misc/run_demo.py

test: $(VENV)/installed
	$(RUN) -m pytest -q -n auto --dist loadfile -m 'not slow' tests

test-slow: $(VENV)/installed
	$(RUN) -m pytest -q -n auto --dist loadfile -m slow tests

test-all: $(VENV)/installed
	$(RUN) -m pytest -q -n auto --dist loadfile tests

# what needs a GPU: the CUDA tests, then operators beside their plain forms
gpu: $(VENV)/installed
	$(RUN) -m pytest -q -rs -k cuda tests
	$(RUN) tools/analysis_tools/benchmark.py ops --device cuda

coverage: $(VENV)/installed
	$(RUN) -m pytest -q -m 'not slow' --cov mmiam --cov-report term-missing:skip-covered tests

stacks:
	tools/misc/test_stacks.sh build/stacks $(STACKS)

lint: $(VENV)/installed
	$(VENV)/bin/ruff check mmiam tools demo tests configs setup.py
	$(VENV)/bin/mypy

# pages and reference come from the text of the code: no torch needed, so the environment is one of its own
docs: $(VENV)-docs/installed
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build -q

$(VENV)-docs/installed: requirements/docs.txt
	test -x $(VENV)-docs/bin/python || $(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install -q --disable-pip-version-check -r requirements/docs.txt
	touch $@

$(VENV)/installed: setup.py $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
	    { echo 'mmiam needs Python 3.9 or newer: make PYTHON=/path/to/python3'; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q --disable-pip-version-check 'setuptools<82' wheel
	$(RUN) -m pip install -q --disable-pip-version-check 'torch==2.13.0; python_version >= "3.10"' \
	    'torch; python_version < "3.10"'
	$(RUN) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[light,lite,tests]'
	$(RUN) tools/misc/check_env.py
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-docs build *.egg-info
