# The short front of the build. CMake does the work: CMakePresets.json has the configurations, and every command here
# can be typed by hand. Programs are in build/release/bin.

BUILD := build/release
PREFIX ?= /usr/local
MODEL ?= models/convnext_cifar10.safetensors
FUZZ_SECONDS ?= 600
SOURCES = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.cc' '*.h')

all: setup  ## set up what is missing and build everything (the default)
	cmake --preset release
	cmake --build --preset release

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*##/\1 /' | \
	  while read -r target text; do printf '  make %-13s %s\n' "$$target" "$$text"; done

setup:  ## install the packages and the libtorch that are missing
	@tools/setup.sh everything

# The runtime and everything share a folder: whichever is configured there, nothing is compiled twice.
demo:  ## set up and build the runtime alone, and run the demo
	@tools/setup.sh runtime
	@grep -qs '^CONVNEXT_TRAIN:BOOL=ON' $(BUILD)/CMakeCache.txt || cmake --preset runtime
	cmake --build $(BUILD) --target runtime
	$(BUILD)/bin/demo

test: all  ## build everything and run all tests
	ctest --preset release

asan:  ## the runtime's tests under the address and undefined-behaviour sanitizers
	@tools/setup.sh everything
	cmake --preset asan
	cmake --build --preset asan
	ctest --preset asan

tsan:  ## the runtime's tests under the thread sanitizer
	@tools/setup.sh everything
	cmake --preset tsan
	cmake --build --preset tsan
	ctest --preset tsan

fuzz:  ## run every fuzzer for FUZZ_SECONDS, ten minutes unless set
	@tools/setup.sh everything
	fuzz/run.sh $(FUZZ_SECONDS)

format:  ## format the sources
	clang-format -i $(SOURCES)

check-format:  ## check the format of the sources
	clang-format --dry-run -Werror $(SOURCES)

# The training side is left out, since libtorch's headers cost clang-tidy a minute a file, and so are the tests, which
# are two thirds of the rest.
lint: check-format  ## check the format, then run clang-tidy on the runtime and the programs
	@tools/setup.sh everything
	cmake --preset clang
	run-clang-tidy -quiet -p build/clang '^$(CURDIR)/(src|apps|examples)/'

goldens:  ## make the tests' goldens anew from the reference implementations
	tools/make_goldens.sh

# PICTURES may be a file, or several in quotes; a bare file of weights needs ARCHITECTURE=name beside it.
parity:  ## compare MODEL with timm or transformers step by step: make parity PICTURES=folder
	@test -n "$(PICTURES)" || { echo "usage: make parity PICTURES=folder [MODEL=file] [ARCHITECTURE=name]"; exit 2; }
	OMP_NUM_THREADS=1 "$$(tools/golden_python.sh)" tools/parity.py "$(MODEL)" $(PICTURES) \
	  $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE))

accuracy:  ## measure MODEL on a folder of pictures: make accuracy DATA=folder [PRECISION=bf16]
	@test -n "$(DATA)" || { echo "usage: make accuracy DATA=folder [MODEL=file] [PRECISION=fp32|bf16|int8]"; exit 2; }
	$(BUILD)/bin/convnext eval "$(DATA)" --model "$(MODEL)" $(if $(PRECISION),--precision $(PRECISION))

install:  ## install what is built: make install PREFIX=/usr/local
	cmake --install $(BUILD) --prefix "$(PREFIX)"

clean:  ## remove what was built; build/libtorch stays
	rm -rf build/release build/debug build/clang build/asan build/tsan build/fuzz build/aarch64

.PHONY: all help setup demo test asan tsan fuzz format check-format lint goldens parity accuracy install clean
