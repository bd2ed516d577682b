# Every target may be run again at any time: what is done already costs next to nothing.
SHELL = /bin/bash
FUZZ_SECONDS ?= 60

python = .venv/bin/python
purposes = build run test bench vm
# Directories are among the sources, so that a deleted file is noticed too.
sources = $(shell find src native tests/payload meson.build meson.options -name __pycache__ -prune -o -print 2>/dev/null)

.DEFAULT_GOAL = build
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: setup build demo test test-vm bench lint fuzz clean help $(purposes:%=packages-%)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: packages-build packages-run packages-test .venv/requirements ## Install the Debian packages, fill .venv
build: build/.installed ## Leave a working .venv/bin/cloison, and the tests' programs in build/

demo: build packages-run ## Show what cloison does
	@demo/demo.sh

# What fails is run once more: the machine may have been busy with others. The closing line counts these too.
test: build packages-run packages-test packages-vm ## Run every test
	@$(python) -m pytest --reruns 1 --reruns-delay 1 --durations 20 --durations-min 5

# WORDS are those after `pytest`, such as WORDS='tests/integration/test_life.py -k freeze'.
test-vm: build packages-vm ## Run the tests marked `guest` on pure cgroup v2, in a Debian 12 under QEMU
	@$(python) -m tools.vm $(WORDS)

lint: build packages-test ## The gate before a commit: style, types, layers, unit tests
	@$(python) -m pytest tests/unit tests/test_lint.py tests/test_architecture.py tests/test_docs.py

bench: build packages-run packages-bench ## Compare with the other engines, as far as they can be installed
	@$(python) -m bench

fuzz: build packages-test ## Fuzz the launcher's decoder and the unpacker of archives for FUZZ_SECONDS (60) each
	@tools/fuzz.sh $(FUZZ_SECONDS)

clean: ## As after a clone
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find src native tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# dpkg is asked each time: a stamp would not know of a package that was removed.
$(purposes:%=packages-%): packages-%:
	@tools/setup.sh packages $*

.venv/requirements: pyproject.toml tools/setup.sh | packages-build
	@tools/setup.sh venv
	@touch $@

build/.installed: .venv/requirements $(sources) | packages-build
	@tools/setup.sh install
	@touch $@
