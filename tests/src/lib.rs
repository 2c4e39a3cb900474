//! Nothing: this package holds the tests that need a running server, in `tests/`.
