# The setup is a virtual environment in .venv, which is updated only after a change of setup.cfg.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Parallel test processes; many tests wait most of their time.
WORKERS ?= 3
CODE = hume_sync tests benchmarks scripts setup.py

SEED ?=

.PHONY: demo test coverage test-clocks test-browser test-fastrtc test-peers test-slow test-lowest test-pythons bench dist docs lint clean

demo: $(VENV)/.with-emulator
	$(BIN)/hume-sync demo

test: $(VENV)/.with-test
	$(BIN)/python -m pytest -n $(WORKERS)

# The same tests, measured: half as long again on Python 3.11.
coverage: $(VENV)/.with-test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The same tests with the clocks of a machine that has just started, and of one that has run for ten years. Their random
# order is printed and can be repeated: make test-clocks SEED=12345. Needs Linux; skipped without the permission.
test-clocks: $(VENV)/.with-test
	@seed=$(SEED); seed=$${seed:-$$($(BIN)/python -c 'import random; print(random.randrange(10**6))')}; \
	echo "repeat this order: make test-clocks SEED=$$seed"; \
	$(BIN)/python scripts/clocks.py $(BIN)/python -m pytest -q -n $(WORKERS) --shuffle "$$seed" </dev/null

# The official clients against the local server, each in a separate environment because their requirements conflict.
# An environment is updated only after a change of its requirements.
test-peers: $(VENV)/.with-test .peers/hume_0_6/.installed .peers/hume_0_13/.installed
	$(BIN)/python -m pytest -m peers tests/peers

# Real FastRTC servers, each version in a separate environment (about 1 GB). WebRTC is skipped on a machine without any
# address but loopback; scripts/loopback_alias.sh adds one.
FASTRTC = 0.0.25 0.0.30 0.0.34

test-fastrtc: $(VENV)/.with-test-fastrtc $(FASTRTC:%=.peers/fastrtc-%/.installed)
	$(BIN)/python -m pytest -m fastrtc tests/fastrtc --durations 5

.peers/fastrtc-%/.installed: tests/fastrtc/real/%.txt
	sh scripts/install.sh "$(PYTHON)" "$(@D)" "-r $<"
	touch $@

# Reports in a headless Chromium: Debian's is installed if there is none.
test-browser: $(VENV)/.with-test
	sh scripts/chromium.sh
	REQUIRE_BROWSER=1 $(BIN)/python -m pytest -m browser tests/batch

# Tests of web servers, and long runs.
test-slow: $(VENV)/.with-slow
	$(BIN)/python -m pytest -m slow -n $(WORKERS)

# The tests with the lowest versions that setup.cfg allows.
test-lowest: .venv-lowest/.with-test
	.venv-lowest/bin/python -m pytest -q -n $(WORKERS)

.venv-lowest/.with-test: setup.cfg setup.py scripts/lowest.py
	rm -rf .venv-lowest .venv-lowest.txt
	$(PYTHON) scripts/lowest.py > .venv-lowest.txt
	sh scripts/install.sh "$(PYTHON)" .venv-lowest "-c .venv-lowest.txt -e .[test]"
	touch $@

# The tests on each supported Python that is installed, except the one that `make test` uses.
test-pythons:
	@sh scripts/pythons.sh | while read -r version python; do \
	    [ "$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != $$version ] || continue; \
	    $(MAKE) --no-print-directory VENV=.venv-$$version PYTHON=$$python .venv-$$version/.with-test && \
	    .venv-$$version/bin/python -m pytest -q -n $(WORKERS) </dev/null || exit 1; \
	done

# Benchmarks against the official client, other clients and a raw socket, each in a separate environment. BENCH sets
# families and options: make bench BENCH="roundtrip --quick".
bench: $(VENV)/.with-bench .peers/hume_0_6/.installed .peers/clients/.installed
	$(BIN)/python -m pytest -q -m "" tests/benchmarks
	$(BIN)/python -m benchmarks $(BENCH)

.peers/clients/.installed: benchmarks/clients.txt
	sh scripts/install.sh "$(PYTHON)" "$(@D)" "-r $<"
	touch $@

# Builds wheel and sdist from the tracked files, and checks them: metadata, contents, and the demo in an environment with
# nothing but the wheel.
dist: .venv-dist/.installed
	.venv-dist/bin/python scripts/dist.py

.venv-dist/.installed: scripts/dist.txt
	sh scripts/install.sh "$(PYTHON)" "$(@D)" "-r $<"
	touch $@

lint: $(VENV)/.with-lint
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/python scripts/words.py

# The pages in build/docs. A broken link, a public name without documentation or an example that fails is an error.
docs: $(VENV)/.with-docs
	REQUIRE_DOCS=1 $(BIN)/python -m pytest -q -n $(WORKERS) tests/test_readme.py tests/test_docs.py
	$(BIN)/mkdocs build --strict --quiet

$(VENV)/.with-%: setup.cfg setup.py
	sh scripts/install.sh "$(PYTHON)" "$(VENV)" "-e .[$*]"
	touch $@

.peers/%/.installed: tests/peers/%.txt
	sh scripts/install.sh "$(PYTHON)" "$(@D)" "-r $<"
	touch $@

clean:
	rm -rf $(VENV) .venv-* .peers build dist *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
