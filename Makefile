# Everything that is done to this repository, by name. `make` alone lists it.

# Where rustup puts cargo, for a shell that was opened before.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help demo test wheel bench charts lint cargo

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{ printf "  make %-8s %s\n", $$1, $$2 }' Makefile

cargo:
	@command -v cargo >/dev/null 2>&1 || { \
		echo "Rust's cargo is not there. Install it as https://rustup.rs says, open a new shell, and try again." >&2; \
		exit 1; }
	@command -v cc >/dev/null 2>&1 || { \
		echo "A C compiler is not there, and Rust links with it. On Debian: apt-get install gcc libc6-dev" >&2; \
		exit 1; }

demo: cargo ## Build, then hub, worker and client as three processes, a real training, and its results
	cargo build --release
	@tools/demo

test: cargo ## Everything that can fail (installs what its parts need, and says so)
	@tools/test

wheel: cargo ## Build the wheel of the Python package, into target/wheels
	@tools/python-package

bench: cargo ## The figures, beside plain aiortc (BENCH="--json", "--full", "--help")
	@if [ -x tools/python-env ]; then tools/python-env >&2; fi
	@cargo bench --bench speed -- $(BENCH)

charts: cargo ## Write the pages of statecharts/
	cargo run -- charts

lint: cargo ## Formatting, clippy, and what the dependencies may be
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@tools/lint-dependencies
