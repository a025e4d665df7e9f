# Build, run and test. Needs Rust, Python 3 and make; all else is installed into $(VENV), in this folder.
#
#   make run      see the function at work in a private VPC of an emulated AWS
#   make watch    let `cargo lambda invoke` run it there, and compile it again after each change
#   make test     check everything
#   make bench    measure it beside a plain boto3 handler
#   make cli      compile mwaa-vpc, the command line for people: what is wrong, replay, redrive

# Virtual environments: aws-sam-cli has its own because it insists on another version of cfn-lint, the benchmark because
# only it needs what is in its.
VENV ?= .venv
override VENV := $(abspath $(VENV))
TOOLS := $(VENV)/tools
SAM := $(VENV)/sam
BENCH := $(VENV)/bench
PYTHON ?= python3

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

# cargo finds cargo-lambda here, and cargo-lambda its linker.
export PATH := $(TOOLS)/bin:$(PATH)

# What sam builds for; the same value as the template's parameter Architecture. `make run` and `make test` execute what
# they build, so they build for this machine.
ARCH ?= x86_64
run test bench picture python-tests: ARCH = $(patsubst aarch64,arm64,$(shell uname -m))

# Two builds, since the EC2 client takes minutes to compile and what makes the function small makes it slow to link:
# `build` makes what is deployed, which `make run`, `make bench` and the tests over the wire execute; `build-tests` makes
# the Rust tests, in Cargo's own dev profile, which a plain `cargo test` and the linter share.
#
# zig links against the glibc of Amazon Linux 2023, however new this machine's may be. `cargo lambda` may add no flags
# of its own (--disable-optimizations): Cargo.toml says it all. Nor is it built from other versions than Cargo.lock's.
# Without --bin it would build every program of the package.
BUILD = cargo lambda build --locked --release --bin mwaa-vpc-endpoints --no-default-features --disable-optimizations $(if $(filter arm64,$(ARCH)),--arm64,--x86-64)
BOOTSTRAP = $(CARGO_TARGET_DIR)/lambda/mwaa-vpc-endpoints/bootstrap
BUILD_TESTS = cargo build --locked --all-targets --features cli
# Cargo's messages on that, which name the test executables.
MESSAGES = $(CARGO_TARGET_DIR)/build-messages.json

# The profile dev, whose EC2 client the Rust tests and `make watch` share: after any of them it takes seconds.
CLI = $(CARGO_TARGET_DIR)/debug/mwaa-vpc

TEMPLATES := $(wildcard template.yaml participant.yaml)
export SAM_CLI_TELEMETRY := 0
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help run watch test bench cli picture package audit checkov build build-tests clean format \
	rust-tests python-tests clippy cfn-lint sam-validate linux fetch lambda emulator tools sam build-MwaaVpcEndpointsFunction
.DEFAULT_GOAL := help

help:  ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 20
	@echo
	@echo '  VENV=$(VENV)'
	@echo '  CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)'
	@echo '  ARCH=$(ARCH)  (x86_64 or arm64)'

# From nothing it compiles as soon as it can, and installs the emulator meanwhile. What takes long is said beforehand.
run: linux rust  ## Watch the function at work in an emulated AWS
	@$(PYTHON) tools/steps.py --quiet $(MAKE) ARCH=$(ARCH) -- lambda\&! fetch! \| emulator\&! build! \|
	@$(TOOLS)/bin/python tools/demo.py $(BOOTSTRAP)

# PORT=… says where `cargo lambda invoke` finds it.
watch: linux tools  ## Serve `cargo lambda invoke`, in an emulated AWS (PORT=9000)
	@$(TOOLS)/bin/python tools/watch.py

# Compiling comes first and takes longest; what does not need it is done beside it. Most of the EC2 client is compiled by
# one thread, so both builds are made at once where there is room: together they take 15 GB.
AVAILABLE = $(shell sed -n 's/^MemAvailable: *\([0-9]*\)...... kB/\1/p' /proc/meminfo)
HAS_ROOM = $(filter 1,$(shell expr 0$(AVAILABLE) '>=' 16))
test: linux rust  ## Check everything
	@$(PYTHON) tools/steps.py $(MAKE) ARCH=$(ARCH) -- lambda\&! fetch! format \| \
		$(if $(HAS_ROOM),build\&\&!) tools\&! sam\&! build-tests! $(if $(HAS_ROOM),,build\&!) \
		clippy rust-tests cfn-lint sam-validate \| python-tests

cli: rust  ## Compile mwaa-vpc, which shows people how all is, and replays and redrives
	@[ -e $(CLI) ] || [ -e $(MESSAGES) ] || echo 'The first build compiles the EC2 client: on two cores 5 to 8 minutes.'
	@cargo build --locked --features cli --bin mwaa-vpc
	@echo '$(CLI)'

# docs/bench.json and docs/bench.svg are made again. ROUNDS=… says how often everything is measured. ESTATE=only measures
# the sweep of many environments alone. AGAINST=… names the bootstrap of another build, with which this one is compared
# instead.
bench: linux build  ## Measure it beside a plain boto3 handler
	@$(PYTHON) tools/venv.py $(BENCH) tools/requirements-bench.txt
	@$(BENCH)/bin/python bench/bench.py $(BOOTSTRAP) docs

# A test compares them with runs: draw them again when the demo, or what the programs say, has changed.
picture: linux build cli  ## Draw docs/run.svg and docs/doctor.svg from runs
	@$(TOOLS)/bin/python tools/picture.py run $(BOOTSTRAP) docs/run.svg
	@$(TOOLS)/bin/python tools/picture.py doctor $(CLI) docs/doctor.svg

build: lambda  ## Compile what is deployed
	@[ -e $(BOOTSTRAP) ] || echo 'The first build compiles the EC2 client: on two cores 5 to 8 minutes, on more a little less.'
	@$(BUILD)

build-tests: rust  ## Compile the Rust tests
	@mkdir -p $(CARGO_TARGET_DIR)
	@[ -e $(MESSAGES) ] || echo 'The first build of the tests compiles the EC2 client: on two cores 5 to 8 minutes.'
	@$(BUILD_TESTS) --message-format json-render-diagnostics > $(MESSAGES)

format:  ## Check that the Rust code is formatted
	@cargo fmt --check

# `cargo clippy` is `cargo check` with clippy-driver instead of rustc, and would check the EC2 client once more for that.
# Set as the wrapper of a build, clippy-driver sees this package only, and all else comes from the build before. A lint
# is an error, so cargo never takes it for done and it is reported every time.
clippy: build-tests  ## Lint the Rust code
	@RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ $(BUILD_TESTS)

rust-tests: tools build-tests  ## Run the unit, property and fault tests
	@$(TOOLS)/bin/python tools/rust_tests.py $(MESSAGES)

# LAPTOP_BINARY has what only a person's machine needs, as `cargo lambda watch` runs it. CLI_BINARY is the command line.
python-tests: export FUNCTION_BINARY = $(BOOTSTRAP)
python-tests: export LAPTOP_BINARY = $(CARGO_TARGET_DIR)/debug/mwaa-vpc-endpoints
python-tests: export CLI_BINARY = $(CLI)
python-tests: build build-tests sam  ## Run the deployed binary against an emulated AWS, and check the templates
	@$(TOOLS)/bin/python -m pytest -q -p no:cacheprovider --numprocesses auto --maxprocesses 4 --dist loadfile tests \
		$(if $(RESULTS),--junitxml $(RESULTS)/python.xml)

cfn-lint: tools sam  ## Lint the templates, with both versions of cfn-lint
	@for venv in $(TOOLS) $(SAM); do $$venv/bin/cfn-lint --format parseable $(TEMPLATES) || exit 1; done

sam-validate: sam  ## Let SAM check its template
	@$(SAM)/bin/sam validate --lint --region us-east-1 --template template.yaml

# What is uploaded without SAM. arm64 where its target is installed: nothing is fetched for it.
INSTALLED = $(wildcard $(shell rustc --print target-libdir --target $(1) 2> /dev/null)/libstd-*)
package: linux tools  ## Make the zips to upload, with checksums and a bill of materials, in dist/
	@rm -rf dist
	@$(MAKE) ARCH=x86_64 build
	@$(TOOLS)/bin/python tools/package.py x86_64 $(BOOTSTRAP) dist
	@$(if $(call INSTALLED,aarch64-unknown-linux-gnu),$(MAKE) ARCH=arm64 build && \
		$(TOOLS)/bin/python tools/package.py arm64 $(BOOTSTRAP) dist, \
		echo 'Not for arm64: rustup target add aarch64-unknown-linux-gnu')

audit: python  ## Ask for known vulnerabilities (needs the internet)
	@$(PYTHON) tools/audit.py

# Not a part of `make test`: checkov brings a hundred packages, and finds little that is not checked there.
checkov: python  ## Lint the templates with checkov, too
	@$(PYTHON) tools/venv.py $(VENV)/checkov tools/requirements-checkov.txt
	@$(VENV)/checkov/bin/checkov --config-file .checkov.yaml

clean:  ## Remove what was made in this folder
	rm -rf target .venv .aws-sam dist

# `sam build` calls this, and says where the binary goes.
build-MwaaVpcEndpointsFunction: build
	@$(PYTHON) tools/architecture.py $(BOOTSTRAP) $(ARCH)
	@cp $(BOOTSTRAP) "$(ARTIFACTS_DIR)/bootstrap"

linux:
	@[ "$$(uname -s)" = Linux ] || { echo >&2 'The function is built for Linux, and runs nowhere else.'; exit 1; }

fetch: rust
	@cargo fetch --locked --target $$(rustc -vV | sed -n 's/^host: //p')

# The virtual environments. Made again only if their requirements or python3 change. `lambda` is the part of `tools` that
# compiles what is deployed, `emulator` the part that `make run` imports: a sixth of the whole, which pip takes a minute of
# the processor's time for, while the compiler needs it.
EMULATOR := blinker boto3 botocore certifi cffi charset-normalizer click cryptography flask flask-cors idna itsdangerous \
	jinja2 jmespath markupsafe moto pycparser python-dateutil pyyaml requests responses s3transfer six \
	typing-extensions urllib3 werkzeug xmltodict

lambda: rust
	@$(PYTHON) tools/venv.py $(TOOLS) tools/requirements.txt cargo-lambda ziglang

emulator: python
	@$(PYTHON) tools/venv.py $(TOOLS) tools/requirements.txt $(EMULATOR)

tools: rust
	@$(PYTHON) tools/venv.py $(TOOLS) tools/requirements.txt

sam: python
	@$(PYTHON) tools/venv.py $(SAM) tools/requirements-sam.txt

.PHONY: rust python
rust: python
	@command -v cargo > /dev/null || { echo >&2 'cargo is missing: install Rust from https://rustup.rs'; exit 1; }

python:
	@command -v $(PYTHON) > /dev/null || { echo >&2 '$(PYTHON) is missing: install Python 3.10 or later'; exit 1; }
