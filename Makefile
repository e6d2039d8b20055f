# Two commands: `make demo` and `make test`. Each needs nothing but Python >= 3.11 and a shell.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(RUN) tools/misc/run_demo.py

test: $(VENV)/installed
	$(RUN) -m pytest -q tests

lint: $(VENV)/installed
	$(VENV)/bin/ruff check mmiam tools demo tests configs setup.py

$(VENV)/installed: setup.py $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'mmiam needs Python 3.11 or newer: make PYTHON=/path/to/python3.11'; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q --disable-pip-version-check 'setuptools<82' wheel
	$(RUN) -m pip install -q --disable-pip-version-check torch==2.13.0
	$(RUN) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[light,tests]'
	$(RUN) tools/misc/check_env.py
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
