# Every target sets itself up: a virtual environment, the package and what the target needs.
# PYTHON=python3.13 takes another Python, in an environment of its own.
PYTHON ?= python3
VENV ?= .venv$(if $(filter file,$(origin PYTHON)),,-$(shell $(PYTHON) -c \
  'import sys; print("%d.%d" % sys.version_info[:2])'))
DEMO_ARGS ?=
BENCH_ARGS ?=
TEST_ARGS ?=

SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp python bench -name '*.[ch]pp' -o -name '*.py')
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-torch test-serial stress sanitize statistics bench lint docs linkcheck walkthrough stubs clean

demo: $(VENV)/.demo
	$(VENV)/bin/fastoptim demo $(DEMO_ARGS)

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(TEST_ARGS)

# Beside torch.optim, which is a large download.
test-torch: $(VENV)/.test
	$(INSTALL) '.[torch]'
	$(VENV)/bin/python -m pytest tests/test_torch.py tests/test_torch_threads.py \
	  tests/project/test_docs.py $(TEST_ARGS)

# The build without threads passes the same tests.
test-serial:
	FASTOPTIM_THREADS=OFF $(MAKE) test VENV=.venv-serial

# Both back ends, and what runs on them, under ThreadSanitizer: a minute.
STRESSED = $(addprefix core/,affinity fork loaded_objects openmp parallel pool step memory layout \
  dispatch) \
  $(addprefix shuffle/,batch_loader gather row_order permutation read_ahead) kernels/kernels
STRESS_FLAGS = -std=c++17 -O1 -g -fsanitize=thread -fopenmp-simd -ffp-contract=off -Wno-tsan -pthread
stress:
	mkdir -p build
	$(CXX) $(STRESS_FLAGS) -shared -fPIC tests/stress_openmp.cpp -o build/libgomp-stress.so
	$(CXX) $(STRESS_FLAGS) -DFASTOPTIM_THREADS -DFASTOPTIM_ISA=baseline tests/stress_parallel.cpp \
	  $(STRESSED:%=cpp/%.cpp) -o build/stress_parallel -Wl,--no-as-needed build/libgomp-stress.so \
	  -Wl,-rpath,$(CURDIR)/build -ldl
	build/stress_parallel

# The core under AddressSanitizer and UndefinedBehaviorSanitizer, in a build of its own: some minutes.
sanitize: $(VENV)/.test
	CXXFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -g1" $(INSTALL) \
	  --no-deps --upgrade --target build/sanitized -C build-dir=build/sanitize .
	PYTHONPATH=$(CURDIR)/build/sanitized \
	  LD_PRELOAD="$(foreach x,asan stdc++,$$($(CXX) -print-file-name=lib$(x).so))" \
	  ASAN_OPTIONS=detect_leaks=0 $(VENV)/bin/python -m pytest -q -p no:cacheprovider \
	  tests/optimizers tests/storage tests/batches -m "not long" $(TEST_ARGS)

# The statistical tests of shuffled orders, on ten times the sample of `make test`: some minutes.
statistics: $(VENV)/.test
	PYTHONPATH=tests $(VENV)/bin/python -m support.permutation_statistics

bench: $(VENV)/.bench
	$(VENV)/bin/fastoptim bench $(BENCH_ARGS)

# ruff, mypy, clang-format, clang-tidy and codespell, as .pre-commit-config.yaml pins them: some
# minutes the first time, while pre-commit installs them. It looks at files that git knows.
lint: $(VENV)/bin/pre-commit
	$(VENV)/bin/pre-commit run --all-files --show-diff-on-failure

# The site: build/docs/index.html. A warning is an error: a docstring that lacks a parameter, a link
# that leads nowhere, a cell of the course that fails.
docs: $(VENV)/.docs
	$(VENV)/bin/python -m sphinx -q -W --keep-going -E docs build/docs

# Follows every external link of the site: needs a network.
linkcheck: $(VENV)/.docs
	$(VENV)/bin/python -m sphinx -q -b linkcheck docs build/linkcheck

# Adds the rule of docs/develop/add_a_rule.md to a copy of the sources, and tests it: some minutes.
walkthrough: $(VENV)/.test
	rm -rf build/walkthrough && mkdir -p build/walkthrough
	cp -r CMakeLists.txt LICENSE README.md pyproject.toml bench cpp python tests build/walkthrough
	cd build/walkthrough && GIT_CEILING_DIRECTORIES=$(CURDIR)/build \
	  git apply ../../docs/develop/softsign.patch
	$(INSTALL) --no-deps --target build/walkthrough/installed build/walkthrough
	cd build/walkthrough && PYTHONPATH=installed $(abspath $(VENV))/bin/python -m pytest -q \
	  -p no:cacheprovider tests/optimizers tests/storage $(TEST_ARGS)

# Writes python/fastoptim/_core.pyi, the core's types; a test compares it with the installed core.
stubs: $(VENV)/.test
	$(VENV)/bin/python -m pybind11_stubgen fastoptim._core --output-dir python

clean:
	rm -rf .venv .venv-* build dist demo-output

$(VENV)/bin/python:
	@echo "Making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/bin/pre-commit: | $(VENV)/bin/python
	$(INSTALL) 'pre-commit>=4,<5'

$(VENV)/.test: extras = [test,demo,bench]
$(VENV)/.demo: extras = [demo]
$(VENV)/.bench: extras = [bench]
$(VENV)/.docs: extras = [docs]
$(VENV)/.%: $(SOURCES) | $(VENV)/bin/python
	@echo "Compiling fastoptim and installing it, with $(extras), into $(VENV): a minute or two"
	$(INSTALL) '.$(extras)'
	touch $@
