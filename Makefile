# Development and installation by hand. Everything works from a fresh clone on Debian 12 with a Rust toolchain.
.PHONY: build run test bench bench-load bench-history bench-sockets deb

CARGO ?= cargo

# The programs and the library between them, in target/release/.
build:
	$(CARGO) build --release --locked

# Installs the languages' packages as far as they are missing, builds, and serves on 127.0.0.1:4334.
# The daemon starts as root to make sandboxes, and drops to an unprivileged user before it listens.
run:
	runtimes/install-packages
	$(MAKE) --no-print-directory build
	@if [ "$$(id -u)" -eq 0 ]; then exec target/release/crankcase serve; \
	else exec sudo --preserve-env=PORT,REDIS_URL,ALLOWED_ORIGINS,CRANKCASE_CONFIG,CRANKCASE_DATA_DIR,RUST_LOG \
		target/release/crankcase serve; fi

# All tests in one go. They drive the built programs and start real sandboxes, which takes root.
test:
	runtimes/install-packages
	tests/setup
	$(CARGO) build --workspace --all-targets --locked
	$(CARGO) test --workspace --locked --no-fail-fast

# p50, p95 and p99 of hello programs through POST /compile against the same programs spawned bare.
# N=500 make bench sets the number of runs.
bench:
	runtimes/install-packages
	tests/setup
	$(CARGO) build --release --workspace --locked
	target/release/bench-latency

# Many users at once, floods, overload, memory hogs, a soak: a table, and one JSON result in target/bench-load.json.
# LOAD="--short", LOAD="--scenario overload --peer piston=http://127.0.0.1:2000", SOAK=1h; LOAD=--list shows the scenarios.
bench-load:
	runtimes/install-packages
	tests/setup
	$(CARGO) build --release --workspace --locked
	target/release/bench-load $(LOAD)

# A history of 1,000,000 executions: every route's time, and what pruning costs a writer.
bench-history:
	$(CARGO) build --release --workspace --locked
	target/release/bench-history

# What 10,000 idle sockets cost.
bench-sockets:
	tests/setup
	$(CARGO) build --release --workspace --locked
	target/release/bench-sockets

# The Debian package, in dist/.
deb: build
	systemd/build-deb
