//! End-to-end tests, one module per feature: one program, so that all of them run side by side.

mod access_log;
mod add_header;
mod errors;
mod if_;
mod keepalive;
mod location;
mod map;
mod proxy;
mod proxy_body;
mod proxy_response;
mod ranges;
mod return_;
mod rewrite;
mod server_name;
mod smuggling;
mod static_files;
mod tls;
mod try_files;
mod upstream;
mod variables;
mod x_accel;
