//! End-to-end tests, one module per feature: one program, so that all of them run side by side.

mod access;
mod access_log;
mod add_header;
mod config;
mod errors;
mod if_;
mod keepalive;
mod location;
mod map;
mod proxy;
mod proxy_body;
mod proxy_response;
mod ranges;
mod realip;
mod return_;
mod rewrite;
mod server_name;
mod signals;
mod smuggling;
mod static_files;
mod stub_status;
mod tls;
mod try_files;
mod upstream;
mod variables;
mod x_accel;
