//! From the `listen` lines of all servers to the sockets of the cycle and the servers behind each address.

use foregate_conf::Error;
use foregate_net::{Addr, KeepAlive, ListenSpec};

use crate::listen::{Listen, Socket};
use crate::names::{Name, Names};

/// A listening socket and the addresses whose connections it takes.
pub struct Endpoint {
    pub addr: Addr,
    pub socket: Socket,
    /// For connections whose local address no other entry names.
    pub default: Address,
    /// Under a wildcard: the addresses that have servers of their own.
    pub specific: Vec<(Addr, Address)>,
}

/// The servers on one address.
pub struct Address {
    pub default_server: u32,
    /// All servers on it, in the file's order.
    pub servers: Vec<u32>,
    pub names: Names,
    pub ssl: bool,
    pub http2: bool,
    pub proxy_protocol: bool,
}

impl Endpoint {
    /// What the socket is like, for opening it.
    pub fn spec(&self) -> ListenSpec {
        let socket = &self.socket;
        let mut spec = ListenSpec::new(self.addr.clone());
        if let Some(backlog) = socket.backlog {
            spec.backlog = backlog;
        }
        spec.reuseport = socket.reuseport;
        spec.ipv6only = socket.ipv6only.unwrap_or(spec.ipv6only);
        spec.recv_buffer_bytes = socket.rcvbuf.map(|n| n as usize);
        spec.send_buffer_bytes = socket.sndbuf.map(|n| n as usize);
        spec.deferred = socket.deferred;
        spec.fastopen = socket.fastopen;
        spec.keepalive = socket.keepalive.map(|it| KeepAlive {
            on: it.on,
            idle: it.idle,
            interval: it.interval,
            probes: it.count,
        });
        spec
    }

    /// The servers for a connection that came in at this local address.
    pub fn address(&self, local: &Addr) -> &Address {
        let found = self.specific.iter().find(|(addr, _)| addr == local);
        found.map_or(&self.default, |(_, address)| address)
    }
}

/// One address while the servers are gathered.
struct Draft {
    addr: Addr,
    socket: Socket,
    default: Option<u32>,
    first: u32,
    names: Names,
    ssl: bool,
    http2: bool,
    proxy_protocol: bool,
    servers: Vec<u32>,
}

/// Gathers the addresses of all servers. `servers` gives each server's listens and names.
pub(crate) fn gather(
    servers: &[(Vec<Listen>, Vec<Name>)],
    warnings: &mut Vec<Error>,
) -> Result<Vec<Endpoint>, Error> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (server, (listens, _)) in servers.iter().enumerate() {
        for listen in listens.iter().filter(|it| !it.quic) {
            add(&mut drafts, listen, server as u32, warnings)?;
        }
    }
    for draft in &mut drafts {
        for server in draft.servers.clone() {
            for name in &servers[server as usize].1 {
                if draft.names.add(name, server).is_err() {
                    let name = name.text();
                    let what = format!("conflicting server name \"{name}\" on {}, ignored", draft.addr);
                    warnings.push(Error::plain(what).warn());
                }
            }
        }
        draft.names.finish();
    }
    Ok(endpoints(drafts))
}

fn add(
    drafts: &mut Vec<Draft>,
    listen: &Listen,
    server: u32,
    warnings: &mut Vec<Error>,
) -> Result<(), Error> {
    let fail = |what: String| Err(Error::at(listen.span, what));
    let Some(draft) = drafts.iter_mut().find(|it| it.addr == listen.addr) else {
        drafts.push(Draft {
            addr: listen.addr.clone(),
            socket: listen.socket.clone(),
            default: listen.default_server.then_some(server),
            first: server,
            names: Names::default(),
            ssl: listen.ssl,
            http2: listen.http2,
            proxy_protocol: listen.proxy_protocol,
            servers: vec![server],
        });
        return Ok(());
    };
    if draft.servers.contains(&server) {
        return fail(format!("a duplicate listen {}", listen.addr));
    }
    draft.servers.push(server);
    if listen.socket.set {
        if draft.socket.set {
            return fail(format!("duplicate listen options for {}", listen.addr));
        }
        draft.socket = listen.socket.clone();
    }
    if listen.default_server && draft.default.replace(server).is_some() {
        return fail(format!("a duplicate default server for {}", listen.addr));
    }
    let said = (listen.ssl, listen.http2, listen.proxy_protocol);
    let had = (draft.ssl, draft.http2, draft.proxy_protocol);
    if said != had && said != (false, false, false) {
        let what = format!("protocol options redefined for {}", listen.addr);
        warnings.push(Error::at(listen.span, what).warn());
    }
    draft.ssl |= listen.ssl;
    draft.http2 |= listen.http2;
    draft.proxy_protocol |= listen.proxy_protocol;
    Ok(())
}

/// One socket for each wildcard takes the connections of the specific addresses on its port too, unless one of
/// them has socket options of its own.
fn endpoints(drafts: Vec<Draft>) -> Vec<Endpoint> {
    let wildcards: Vec<_> =
        drafts.iter().filter(|it| is_wildcard(&it.addr)).map(|it| it.addr.clone()).collect();
    let covered = |draft: &Draft| {
        !is_wildcard(&draft.addr) && !draft.socket.bind && wildcards.iter().any(|it| covers(it, &draft.addr))
    };
    let (inner, outer): (Vec<_>, Vec<_>) = drafts.into_iter().partition(covered);
    let endpoint = |draft: Draft| {
        let addr = draft.addr.clone();
        Endpoint { addr, socket: draft.socket.clone(), default: draft.into(), specific: Vec::new() }
    };
    let mut endpoints: Vec<_> = outer.into_iter().map(endpoint).collect();
    for draft in inner {
        let addr = draft.addr.clone();
        if let Some(around) = endpoints.iter_mut().find(|it| is_wildcard(&it.addr) && covers(&it.addr, &addr))
        {
            around.specific.push((addr, draft.into()));
        }
    }
    endpoints
}

fn is_wildcard(addr: &Addr) -> bool {
    addr.ip().is_some_and(|it| it.ip().is_unspecified())
}

fn covers(wildcard: &Addr, addr: &Addr) -> bool {
    match (wildcard.ip(), addr.ip()) {
        (Some(wildcard), Some(addr)) => {
            wildcard.port() == addr.port() && wildcard.is_ipv4() == addr.is_ipv4()
        }
        _ => false,
    }
}

impl From<Draft> for Address {
    fn from(draft: Draft) -> Self {
        Self {
            default_server: draft.default.unwrap_or(draft.first),
            servers: draft.servers,
            names: draft.names,
            ssl: draft.ssl,
            http2: draft.http2,
            proxy_protocol: draft.proxy_protocol,
        }
    }
}
