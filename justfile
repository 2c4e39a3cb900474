# Index of habits: `just` lists them, `just NAME` does one. Each line can be typed by hand.

# list these
default:
    @just --list

# everything that must be green; what CI runs
test *ARGS:
    cargo xtask test {{ARGS}}

# format everything
fmt:
    cargo fmt --all

# lints, as CI judges them
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# end-to-end tests, on nginx and on Foregate
e2e *ARGS:
    cargo test --package foregate-tests --test e2e -- {{ARGS}}

# end-to-end tests on nginx alone: is the expectation right?
e2e-nginx *ARGS:
    FOREGATE_SUBJECT=nginx cargo test --package foregate-tests --test e2e -- {{ARGS}}

# the rules of the house
tidy:
    cargo test --package foregate-tests --test tidy

# what requests may cost, counted on a build close to a release; --write makes what is counted now the limits
budgets *ARGS:
    cargo xtask budgets {{ARGS}}

# nginx-tests in DIR, compared with xtask/conformance.txt
conformance DIR *ARGS:
    cargo xtask conformance {{DIR}} {{ARGS}}

# Debian packages the tests use
packages:
    cargo xtask packages --install

# write docs/directives.md from the modules' tables
docs:
    cargo xtask docs

# licences, bans, sources and advisories of the dependencies
deny:
    cargo deny check

# a release that a run under load has shown what is hot: target/optimized/foregate
optimize:
    cargo xtask optimize

# two backends and a proxy in front of them, to look around
demo:
    cargo run --release -- demo

# Foregate, nginx, HAProxy and Varnish side by side; writes docs/benchmark.md and .svg
bench *ARGS:
    cargo run --release --package foregate-bench -- {{ARGS}}
