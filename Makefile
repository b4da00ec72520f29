# One command for each job; `make help` lists them. Needs git, make, a Rust toolchain and apt: what is
# missing beyond that is named, with the reason, and installed.

PORT ?= 8182
DEMO ?= demo
PREFIX ?= /usr/local
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST := $(TARGET)/release/iiphost
MODULES := $(foreach name,tiff jpeg jpeg2000,$(TARGET)/release/libiiphost_$(name).so)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-build build install run soak fuzz bench test format lint docs unit features symbols sdk licenses

help:
	@echo 'make run      build, make sample images if there are none, serve http://127.0.0.1:$(PORT)/'
	@echo 'make test     every check and every test'
	@echo 'make bench    the host beside its peer and the floor, as a table (a quarter of an hour)'
	@echo 'make soak     two minutes of load and faults; SOAK_SECONDS, SOAK_CLIENTS'
	@echo 'make fuzz     broken files for the modules, FUZZ_SECONDS each; needs a nightly toolchain and cargo-fuzz'
	@echo 'make build    the release build, in $(TARGET)/release'
	@echo 'make install  what was built, systemd units and a configuration, below PREFIX and DESTDIR'
	@echo 'make setup    install the system packages that build and tests need'
	@echo 'Settings: PORT=$(PORT) DEMO=$(DEMO) PREFIX=$(PREFIX)'

setup:
	@scripts/setup.sh build test

setup-build:
	@scripts/setup.sh build

build: setup-build
	$(CARGO) build --locked --release

# The samples are made beside the place and moved there when all of them are whole: an interrupted run
# begins where it stopped.
run: build
	@if [ -z "$$(find '$(DEMO)' -type f -name '*.tif' 2>/dev/null | head -n 1)" ]; then \
		$(HOST) demo '$(TARGET)/sample-images' && mkdir -p '$(DEMO)' && \
		mv '$(TARGET)'/sample-images/* '$(DEMO)'/ && rmdir '$(TARGET)/sample-images'; \
	fi
	@echo 'Open http://127.0.0.1:$(PORT)/ in a browser; Ctrl-C stops the server.'
	@exec $(HOST) --http '127.0.0.1:$(PORT)' -- '$(DEMO)'

# Two minutes of everything at once, good and bad, against a release build.
SOAK_SECONDS ?= 120
SOAK_CLIENTS ?= 64
soak: setup
	$(CARGO) build --locked --release --workspace --all-targets
	SOAK_SECONDS=$(SOAK_SECONDS) SOAK_CLIENTS=$(SOAK_CLIENTS) \
		$(CARGO) test --locked --release -p iiphost-tests --test blackbox -- --nocapture --test-threads 1 faults::

# Generated files against each module, with AddressSanitizer. What was found interesting is kept below TARGET.
FUZZ_SECONDS ?= 120
fuzz: setup
	scripts/fuzz.sh '$(FUZZ_SECONDS)' '$(TARGET)/fuzz'

# PREFIX is where the host goes, DESTDIR where a package is put together. A configuration that is there stays.
install:
	@test -x $(HOST) || { echo 'make build comes first, as the user who has the Rust toolchain'; exit 1; }
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/iiphost' '$(DESTDIR)$(PREFIX)/share/doc/iiphost' \
		'$(DESTDIR)/etc/iiphost' '$(DESTDIR)/lib/systemd/system' '$(DESTDIR)/usr/lib/sysusers.d'
	install -m 755 $(HOST) '$(DESTDIR)$(PREFIX)/bin/iiphost'
	install -m 644 $(MODULES) '$(DESTDIR)$(PREFIX)/lib/iiphost'
	cp -R README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT docs deploy '$(DESTDIR)$(PREFIX)/share/doc/iiphost'
	for unit in service socket; do \
		sed 's,/usr/local/,$(PREFIX)/,g' deploy/systemd/iiphost.$$unit \
			> '$(DESTDIR)/lib/systemd/system/'iiphost.$$unit || exit 1; \
	done
	install -m 644 deploy/systemd/iiphost.sysusers '$(DESTDIR)/usr/lib/sysusers.d/iiphost.conf'
	[ -e '$(DESTDIR)/etc/iiphost/iiphost.toml' ] || \
		install -m 644 deploy/iiphost.toml '$(DESTDIR)/etc/iiphost/iiphost.toml'

# Only rows whose names contain a word: make bench ONLY="cached region".
bench: build
	@scripts/setup.sh bench
	$(CARGO) build --locked --release -p iiphost-benches
	@$(TARGET)/release/bench --host '$(HOST)' --images '$(TARGET)/bench-images' $(ONLY)

test: setup format lint docs unit features symbols licenses
	@echo 'make test: everything passed'

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

# Unit, property and black-box tests. One profile and one choice of features for the host that is tested
# and for the tests themselves, so that no dependency is compiled twice; the first command also makes the
# program and the module libraries that the black-box tests start.
unit:
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace

# Without the encoders in C the pure Rust JPEG encoder has to pass the same tests.
features:
	$(CARGO) test --locked -p iiphost --no-default-features --lib encode::

symbols:
	scripts/check-symbols.sh $(TARGET)/debug

# The start of somebody else's module, as that person builds it: alone, outside this workspace. The black-box
# tests do the same with the copy that `iiphost new-module` writes.
sdk:
	cd sdk-template && CARGO_TARGET_DIR='$(abspath $(TARGET))/sdk-template' $(CARGO) test

licenses:
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		echo '$(CARGO) deny check licenses bans sources'; \
		$(CARGO) deny --all-features check licenses bans sources; \
	else \
		echo 'NOT CHECKED: licences, bans and sources of the dependencies, because cargo-deny is not installed (cargo install cargo-deny)'; \
	fi
