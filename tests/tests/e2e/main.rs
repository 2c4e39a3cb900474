//! End-to-end tests, one module per feature: one program, so that all of them run side by side.

mod location;
