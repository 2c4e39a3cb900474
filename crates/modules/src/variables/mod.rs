//! nginx's own variables: those of the request, the client's connection, the answer and the clock.

mod connection;
mod families;
mod process;
mod request;
mod response;
#[cfg(test)]
mod tests;

use foregate_conf::Error;
use foregate_core::{Compile, Directive, Prefix, Scope, Variable};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    hash_max_size: Option<u64>,
    hash_bucket_size: Option<u64>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = ();

    const DIRECTIVES: &'static [Directive<Options>] = &[
        // Names are found while the configuration is compiled: there is no table to size.
        Directive::number("variables_hash_max_size", Scope::HTTP, |o| &mut o.hash_max_size),
        Directive::number("variables_hash_bucket_size", Scope::HTTP, |o| &mut o.hash_bucket_size),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("content_length", request::content_length),
        Variable::new("content_type", request::content_type),
        Variable::new("host", request::host),
        Variable::plain("request_port", request::request_port),
        Variable::new("is_request_port", request::is_request_port),
        Variable::new("request_uri", request::request_uri),
        Variable::new("uri", request::uri),
        Variable::new("document_uri", request::uri),
        Variable::new("request", request::line),
        Variable::new("query_string", request::args),
        Variable { name: "args", get: request::args, set: Some(request::set_args), plain: false },
        Variable::plain("is_args", request::is_args),
        Variable::new("request_method", request::method),
        Variable::new("server_protocol", request::protocol),
        Variable::new("server_name", request::server_name),
        Variable::new("remote_user", request::remote_user),
        Variable::plain("request_length", request::length),
        Variable::plain("request_time", request::time),
        Variable::plain("request_id", request::id),
        Variable::new("request_body", request::body),
        Variable::new("request_body_file", request::body_file),
        Variable::plain("http2", request::http2),
        Variable::plain("http3", request::http3),
        Variable::new("http_cookie", families::cookies),
        Variable::new("http_host", families::host),
        Variable::new("http_referer", families::referer),
        Variable::new("http_user_agent", families::user_agent),
        Variable::new("http_via", families::via),
        Variable::new("http_x_forwarded_for", families::forwarded_for),
        Variable::new("remote_addr", connection::remote_addr),
        Variable::plain("remote_port", connection::remote_port),
        Variable::new("binary_remote_addr", connection::binary_remote_addr),
        Variable::new("server_addr", connection::server_addr),
        Variable::plain("server_port", connection::server_port),
        Variable::plain("scheme", connection::scheme),
        Variable::plain("https", connection::https),
        Variable::new("proxy_protocol_addr", connection::proxied_addr),
        Variable::new("proxy_protocol_port", connection::proxied_port),
        Variable::new("proxy_protocol_server_addr", connection::proxied_server_addr),
        Variable::new("proxy_protocol_server_port", connection::proxied_server_port),
        Variable::plain("connection", connection::number),
        Variable::plain("connection_requests", connection::requests),
        Variable::plain("connection_time", connection::time),
        Variable::new("pipe", connection::pipe),
        Variable::plain("tcpinfo_rtt", |ex, out| connection::tcp_fact(ex, out, |it| it.rtt_us)),
        Variable::plain("tcpinfo_rttvar", |ex, out| connection::tcp_fact(ex, out, |it| it.rtt_variance_us)),
        Variable::plain("tcpinfo_snd_cwnd", |ex, out| connection::tcp_fact(ex, out, |it| it.send_window)),
        Variable::plain("tcpinfo_rcv_space", |ex, out| {
            connection::tcp_fact(ex, out, |it| it.receive_space_bytes)
        }),
        Variable::plain("status", response::status),
        Variable::plain("bytes_sent", response::bytes),
        Variable::plain("body_bytes_sent", response::body_bytes),
        Variable::plain("request_completion", response::completion),
        Variable::new("sent_http_content_length", response::content_length),
        Variable::new("sent_http_connection", response::connection),
        Variable::new("sent_http_transfer_encoding", response::transfer_encoding),
        Variable { name: "limit_rate", get: response::limit_rate, set: Some(response::set_limit_rate), plain: true },
        Variable::plain("nginx_version", process::version),
        Variable::new("hostname", process::hostname),
        Variable::plain("pid", process::pid),
        Variable::plain("msec", process::msec),
        Variable::plain("time_iso8601", process::time_iso8601),
        Variable::plain("time_local", process::time_local),
    ];

    const PREFIXES: &'static [Prefix] = &[
        Prefix { name: "arg_", get: families::arg },
        Prefix { name: "cookie_", get: families::cookie },
        Prefix { name: "http_", get: families::http },
        Prefix { name: "sent_http_", get: families::sent_http },
        Prefix { name: "sent_trailer_", get: families::sent_trailer },
        Prefix { name: "proxy_protocol_tlv_", get: connection::proxied_tlv },
    ];

    fn resolve(_: Options, _: &mut Compile<'_>) -> Result<Option<()>, Error> {
        Ok(None)
    }
}
