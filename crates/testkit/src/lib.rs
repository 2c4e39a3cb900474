//! How end-to-end tests are written: a server from a configuration's text, scripted backends, raw clients, tables.
//!
//! Nothing here is async: plain threads and sockets with a timeout on each, so that a test never hangs and never
//! shares a mistake with the server's own runtime. The shortest test is a table:
//!
//! ```no_run
//! foregate_testkit::check(
//!     "server { listen {port:0}; location /old { return 301 /new; } }",
//!     &[("GET /old", "301 | Location: http://localhost:{port:0}/new"), ("GET /", "404 | ~ 404 Not Found")],
//! );
//! ```
//!
//! It runs on nginx and on Foregate: what the table says is nginx's behaviour, proven and not believed. Longer tests
//! say [`both`] and do as they please with a [`Server`]. Features that Debian's nginx lacks say [`since`] or
//! [`foregate_only`]. `FOREGATE_SUBJECT=nginx` (or `foregate`) runs only one side, `FOREGATE_BIN` and
//! `FOREGATE_NGINX` name other binaries.

mod backend;
mod certificate;
mod client;
mod fastcgi;
pub mod identity;
pub mod jwt;
mod load;
mod message;
pub mod mmdb;
mod name_server;
mod pebble;
mod ports;
pub mod process;
mod redis;
mod reply;
mod request;
mod server;
mod setup;
mod subject;
mod table;
mod tls;

pub use backend::Backend;
pub use certificate::{Authority, Certificate};
pub use client::{Client, TIMEOUT, get, http};
pub use fastcgi::{Act, Application, Asked, Php};
pub use load::{Load, Outcome};
pub use message::{Response, Seen};
pub use name_server::NameServer;
pub use pebble::Pebble;
pub use ports::{Port, free_port};
pub use redis::Redis;
pub use reply::{Gate, Reply, Step};
pub use request::Request;
pub use rustix::process::Signal;
pub use rustls::ClientConfig;
pub use server::Server;
pub use setup::Setup;
pub use subject::{Subject, both, foregate_only, nginx_only, since};
pub use table::{Case, check, check_on, check_since, shows};
pub use tls::{any_certificate, own_certificate};
