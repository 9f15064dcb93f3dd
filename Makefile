.PHONY: test bench

# All tests in one go. They drive the built binaries, and start real sandboxes: root is needed.
test:
	tests/setup
	cargo build --workspace --locked
	cargo test --workspace --locked --no-fail-fast

# p50, p95 and p99 of hello programs through POST /compile against the same programs spawned bare.
# N=500 make bench sets the number of runs.
bench:
	tests/setup
	cargo build --release --workspace --locked
	target/release/bench-latency
