//! A connection to a Redis: commands in one write, their replies in order, everything within a time.

use std::net::IpAddr;
use std::time::Duration;

use foregate_net::stream::ConnectOptions;
use foregate_net::{Addr, Stream, clock, names};
use foregate_wire::resp::{Reply, command, parse};

/// What it may take to be connected and let in.
const CONNECT_PATIENCE: Duration = Duration::from_millis(1000);
/// What the replies to one write may take: they are a few hundred numbers.
const REPLY_PATIENCE: Duration = Duration::from_millis(500);
/// Replies that are not whole yet.
const UNREAD_BYTES_MAX: usize = 4 << 20;
const PORT: u16 = 6379;

/// Where a Redis is and how it lets one in. Its secrets are not shown.
#[derive(Clone)]
pub(crate) struct Server {
    addrs: Vec<Addr>,
    /// As the log calls it.
    pub(crate) name: String,
    user: Option<String>,
    password: Option<String>,
    database: Option<u32>,
}

impl Server {
    /// `HOST[:PORT]`, `unix:/PATH`, or `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`. A name is looked up now.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let whole = path.starts_with('/');
            let addrs = if whole { vec![Addr::unix(path)] } else { return Err("no absolute path".into()) };
            return Ok(Self { addrs, name: text.to_owned(), user: None, password: None, database: None });
        }
        if text.starts_with("rediss://") {
            return Err("Redis over TLS is not supported".into());
        }
        let text = text.strip_prefix("redis://").unwrap_or(text);
        let (secrets, place) = text.rsplit_once('@').map_or((None, text), |(it, place)| (Some(it), place));
        let (user, password) = secrets.map_or((None, None), |it| match it.split_once(':') {
            Some((user, password)) => (Some(user).filter(|it| !it.is_empty()), Some(password)),
            None => (None, Some(it)),
        });
        let (place, database) = place.split_once('/').map_or((place, ""), |it| it);
        let database = match database {
            "" => None,
            number => Some(number.parse().map_err(|_| "invalid database".to_owned())?),
        };
        let (host, port) = host_and_port(place)?;
        let found = names::look_up(host, port).map_err(|_| format!("host not found: \"{host}\""))?;
        Ok(Self {
            addrs: found.into_iter().map(Addr::Ip).collect(),
            name: place.to_owned(),
            user: user.map(decoded),
            password: password.map(decoded),
            database,
        })
    }
}

/// `host`, `host:port`, `[::1]:port`
fn host_and_port(place: &str) -> Result<(&str, u16), String> {
    let inside = place.trim_start_matches('[');
    let alone = place.parse::<IpAddr>().is_ok() || place.ends_with(']') || !place.contains(':');
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !alone => {
            (host, port.parse().ok().filter(|it| *it > 0).ok_or_else(|| "invalid port".to_owned())?)
        }
        _ => (place, PORT),
    };
    let host = if inside.len() < place.len() { host.trim_matches(['[', ']']) } else { host };
    if host.is_empty() { Err("no host".into()) } else { Ok((host, port)) }
}

/// `%xx` are bytes (RFC 3986, 2.1); what is no such thing stands for itself.
fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = rest.get(1..3).and_then(|it| std::str::from_utf8(it).ok());
        match digits.filter(|_| byte == b'%').and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) struct Connection {
    stream: Stream,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects, and says who we are. What fails is told as the end of a sentence.
    pub(crate) async fn open(to: &Server) -> Result<Self, String> {
        let opened = clock::timeout(CONNECT_PATIENCE, async {
            let mut connection = Self { stream: connect(&to.addrs).await?, unread: Vec::new() };
            let database = to.database.unwrap_or_default().to_string();
            let mut commands = Vec::new();
            let mut n = 0;
            let mut say = |args: &[&[u8]]| {
                command(args, &mut commands);
                n += 1;
            };
            match (&to.user, &to.password) {
                (Some(user), Some(password)) => say(&[b"AUTH", user.as_bytes(), password.as_bytes()]),
                (None, Some(password)) => say(&[b"AUTH", password.as_bytes()]),
                _ => (),
            }
            if to.database.is_some() {
                say(&[b"SELECT", database.as_bytes()]);
            }
            connection.ask(&commands, n).await?;
            Ok(connection)
        });
        opened.await.map_err(|_| "it does not let us in in time".to_owned())?
    }

    /// Sends `n` commands and waits for as many replies; a refusal of one is a failure of all.
    pub(crate) async fn ask(&mut self, commands: &[u8], n: usize) -> Result<Vec<Reply>, String> {
        if n == 0 {
            return Ok(Vec::new());
        }
        let asked = clock::timeout(REPLY_PATIENCE, async {
            self.stream.send_all(commands).await.map_err(|why| why.to_string())?;
            let mut replies = Vec::with_capacity(n);
            while replies.len() < n {
                replies.push(self.reply().await?);
            }
            Ok(replies)
        });
        asked.await.map_err(|_| "it does not answer in time".to_owned())?
    }

    async fn reply(&mut self) -> Result<Reply, String> {
        loop {
            if let Some((reply, len)) = parse(&self.unread).map_err(|why| why.text().to_owned())? {
                self.unread.drain(..len);
                return match reply {
                    Reply::Error(text) => Err(format!("it refuses: {}", String::from_utf8_lossy(&text))),
                    reply => Ok(reply),
                };
            }
            let more = self.stream.recv().await.map_err(|why| why.to_string())?;
            if more.is_empty() {
                return Err("it has closed the connection".into());
            }
            if self.unread.len() + more.len() > UNREAD_BYTES_MAX {
                return Err("its reply is too large".into());
            }
            self.unread.extend_from_slice(&more);
        }
    }
}

async fn connect(addrs: &[Addr]) -> Result<Stream, String> {
    let mut why = "its name has no address".to_owned();
    for addr in addrs {
        match Stream::connect(addr, &ConnectOptions::default()).await {
            Ok(stream) => {
                stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => why = foregate_net::sys::errno_text(&error),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_several_ways() {
        let check = |text: &str| {
            Server::parse(text).map(|it| {
                let secrets = [it.user, it.password].map(|it| it.unwrap_or_default());
                (it.addrs[0].to_string(), secrets.join("/"), it.database)
            })
        };
        let said = |addr: &str, secrets: &str, database| Ok((addr.to_owned(), secrets.to_owned(), database));
        assert_eq!(check("127.0.0.1"), said("127.0.0.1:6379", "/", None));
        assert_eq!(check("127.0.0.1:7000"), said("127.0.0.1:7000", "/", None));
        assert_eq!(check("[::1]:7000"), said("[::1]:7000", "/", None));
        assert_eq!(check("[::1]"), said("[::1]:6379", "/", None));
        assert_eq!(check("redis://:p%40ss@127.0.0.1/2"), said("127.0.0.1:6379", "/p@ss", Some(2)));
        assert_eq!(check("redis://me:a:b%@127.0.0.1:1"), said("127.0.0.1:1", "me/a:b%", None));
        assert_eq!(check("unix:/run/redis.sock"), said("unix:/run/redis.sock", "/", None));
        for text in ["", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1/x", "unix:here", "rediss://127.0.0.1", ":1"]
        {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
