//! What stands outside of `http`, and in `events`.

use super::reasons::{
    DEBUGGING, DISK, ENGINE, ENVIRONMENT, EVENTS, MODULES, NOT_YET, PROCESS, QUIC_INSIDE, REGEX, TLS_INSIDE,
};
use super::{Known, known as of};

/// Sorted by name.
#[rustfmt::skip]
pub(super) static NAMES: &[Known] = &[
    of("accept_mutex", "events", "1", "off", EVENTS),
    of("accept_mutex_delay", "events", "1", "500ms", EVENTS),
    of("acceptex_read", "events", "1", "on", EVENTS),
    of("daemon", "main", "1", "on", NOT_YET),
    of("debug_connection", "events", "1", "", DEBUGGING),
    of("debug_points", "main", "1", "", DEBUGGING),
    of("devpoll_changes", "events", "1", "32", EVENTS),
    of("devpoll_events", "events", "1", "32", EVENTS),
    of("env", "main", "1", "TZ", ENVIRONMENT),
    of("epoll_events", "events", "1", "512", EVENTS),
    of("error_log", "main, http, server, location, mail, mail server, stream, stream server", "1+", "", NOT_YET),
    of("eventport_events", "events", "1", "32", EVENTS),
    of("events", "main", "0 block", "", NOT_YET),
    of("google_perftools_profiles", "main", "1", "", DEBUGGING),
    of("iocp_threads", "events", "1", "0", EVENTS),
    of("kqueue_changes", "events", "1", "512", EVENTS),
    of("kqueue_events", "events", "1", "512", EVENTS),
    of("load_module", "main", "1", "", MODULES),
    of("lock_file", "main", "1", "", PROCESS),
    of("master_process", "main", "1", "on", NOT_YET),
    of("multi_accept", "events", "1", "off", EVENTS),
    of("pcre_jit", "main", "1", "off", REGEX),
    of("pid", "main", "1", "", NOT_YET),
    of("post_acceptex", "events", "1", "10", EVENTS),
    of("quic_bpf", "main", "1", "off", QUIC_INSIDE),
    of("ssl_engine", "main", "1", "", ENGINE),
    of("ssl_object_cache_inheritable", "main", "1", "on", TLS_INSIDE),
    of("thread_pool", "main", "2-3", "", DISK),
    of("timer_resolution", "main", "1", "", PROCESS),
    of("use", "events", "1", "", EVENTS),
    of("user", "main", "1-2", "", NOT_YET),
    of("worker_aio_requests", "events", "1", "32", DISK),
    of("worker_connections", "events", "1", "512", NOT_YET),
    of("worker_cpu_affinity", "main", "1+", "", PROCESS),
    of("worker_priority", "main", "1", "0", PROCESS),
    of("worker_processes", "main", "1", "1", NOT_YET),
    of("worker_rlimit_core", "main", "1", "", DEBUGGING),
    of("worker_rlimit_nofile", "main", "1", "", NOT_YET),
    of("worker_shutdown_timeout", "main", "1", "", NOT_YET),
    of("working_directory", "main", "1", "", DEBUGGING),
];
