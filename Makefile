# Everything that one does with this repository from a terminal; `make` alone lists it.

CARGO ?= cargo
CONFIG := config/quickstart.toml
SACHDNS := target/release/sachdns

.PHONY: help run build test test-deps screenshots lint fmt doc bench bench-deps bench-write fuzz
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the release binary, target/release/sachdns
	@command -v cc >/dev/null || { echo 'cc: not found; install it with: apt-get install gcc libc6-dev' >&2; exit 1; }
	$(CARGO) build --locked --release

# The server gets a process group of its own (set -m): Ctrl-C reaches it alone, it stops cleanly, and make
# ends as well as it did.
run: build ## Build, and serve the quick start on 127.0.0.1:5353 until Ctrl-C
	@mkdir -p data
	@echo
	@echo 'SachDNS starts now, with $(CONFIG).'
	@echo 'Once it says "ready", try in another terminal, in this folder:'
	@echo
	@echo '  dig @127.0.0.1 -p 5353 malware-demo.test'
	@echo '      A listed name: the sinkhole, 127.0.0.1, and EDE 15 (Blocked).'
	@echo '  dig @127.0.0.1 -p 5353 www.example.com'
	@echo '      Any other name: what the upstream says, or SERVFAIL within 4 s if'
	@echo '      resolver.upstreams cannot be reached from here.'
	@echo "  curl -H 'Host: malware-demo.test' http://127.0.0.1:8080/"
	@echo '      The page that a listed name leads to. http://127.0.0.1:8080/ in a'
	@echo '      browser is the calmer one of a name that no feed lists.'
	@echo '  $(SACHDNS) log --config $(CONFIG) --since 1h'
	@echo '      Both queries, who asked and what was done; --hits shows only the first.'
	@echo
	@command -v dig >/dev/null || printf '%s\n\n' 'dig is not installed here: apt-get install bind9-dnsutils'
	@bash -c 'set -m; $(SACHDNS) serve --config $(CONFIG); exit $$?'

test: test-deps ## Install what the tests need, and run all of them
	$(CARGO) test --locked

test-deps: ## Install the name server and tools that the tests run (Debian packages)
	@tests/install-deps.sh

# Sixteen colours are enough for a page, and keep each picture small.
screenshots: test-deps ## Take the pictures of docs/landing and docs/console anew (pngquant)
	@command -v pngquant >/dev/null || { echo 'pngquant: not found; install it with: apt-get install pngquant' >&2; exit 1; }
	SACHDNS_SCREENSHOTS=$(CURDIR)/docs/landing $(CARGO) test --locked --test it -- landing_browser::everybody
	pngquant --force --ext .png --speed 1 16 docs/landing/*.png
	SACHDNS_CONSOLE_SCREENSHOTS=$(CURDIR)/docs/console $(CARGO) test --locked --test it -- console_pages::the_machine
	pngquant --force --ext .png --speed 1 24 docs/console/*.png

lint: ## Check the format and the lints, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt

doc: ## Build the documentation, warnings denied
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

bench: ## Measure (SACHDNS_BENCH=once runs each bench a single time), beside the peers that are installed
	$(CARGO) bench --locked --bench '*'

bench-deps: ## Install the name servers that bench measures, and dnsperf (Debian packages)
	@benches/install-peers.sh

bench-write: ## Measure whole servers, and write docs/bench*.md, docs/bench.svg and README's table
	SACHDNS_BENCH_WRITE=docs $(CARGO) bench --locked --bench network --bench recursion

fuzz: ## Fuzz every parser for a while each (SECONDS=30 by default)
	@fuzz/run.sh
