//! Directives of `mail` that no other part has too.

use super::reasons::MAIL;
use super::{Known, known as of};

/// Sorted by name.
#[rustfmt::skip]
pub(super) static NAMES: &[Known] = &[
    of("auth_http", "mail, mail server", "1", "", MAIL),
    of("auth_http_header", "mail, mail server", "2", "", MAIL),
    of("auth_http_pass_client_cert", "mail, mail server", "1", "off", MAIL),
    of("auth_http_timeout", "mail, mail server", "1", "60s", MAIL),
    of("imap_auth", "mail, mail server", "1+", "plain", MAIL),
    of("imap_capabilities", "mail, mail server", "1+", "", MAIL),
    of("imap_client_buffer", "mail, mail server", "1", "", MAIL),
    of("mail", "main", "0 block", "", MAIL),
    of("max_errors", "mail, mail server", "1", "5", MAIL),
    of("pop3_auth", "mail, mail server", "1+", "plain", MAIL),
    of("pop3_capabilities", "mail, mail server", "1+", "", MAIL),
    of("protocol", "mail server", "1", "", MAIL),
    of("proxy", "mail, mail server", "1", "", MAIL),
    of("proxy_buffer", "mail, mail server", "1", "", MAIL),
    of("proxy_pass_error_message", "mail, mail server", "1", "off", MAIL),
    of("proxy_smtp_auth", "mail, mail server", "1", "off", MAIL),
    of("smtp_auth", "mail, mail server", "1+", "", MAIL),
    of("smtp_capabilities", "mail, mail server", "1+", "", MAIL),
    of("smtp_client_buffer", "mail, mail server", "1", "", MAIL),
    of("smtp_greeting_delay", "mail, mail server", "1", "0", MAIL),
    of("starttls", "mail, mail server", "1", "off", MAIL),
    of("timeout", "mail, mail server", "1", "60s", MAIL),
    of("xclient", "mail, mail server", "1", "on", MAIL),
];
