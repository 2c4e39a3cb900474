//! Lists of networks that nobody is let in from: out of files, or out of the web and fetched again and again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foregate_acme::{Url, get};
use foregate_conf::{Error, Word};
use foregate_core::network::read_list;
use foregate_core::{Compile, ErrorLog, Level, NetworkSet, Shared};
use foregate_net::runtime::{self, Task};
use foregate_net::{Addr, clock};

/// A list as written: `file:PATH`, or an address of the web with `refresh=TIME`.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) place: Word,
    pub(super) refresh: Duration,
}

/// Networks of one list.
const NETWORKS_MAX: usize = 500_000;
/// Lists of which one thread has copies; those that no configuration names any more go when there are more.
const COPIES_MAX: usize = 64;
/// How often a list of the web is fetched, if nothing else is said.
pub(super) const REFRESH: Duration = Duration::from_secs(3600);
/// A list that did not come is asked for again after this time, or sooner if it is fetched more often anyway.
const RETRY: Duration = Duration::from_secs(60);

pub(super) struct List {
    /// As written: what the log calls it.
    pub(super) name: Box<str>,
    networks: Networks,
}

enum Networks {
    /// A file's: it is read again with the whole configuration when it changes.
    Fixed(NetworkSet),
    Live(Arc<Live>),
}

/// All lists of the web, by their address; they live on from one configuration to the next.
#[derive(Default)]
pub(super) struct Lists(HashMap<String, (Arc<Live>, Duration)>);

/// A list that somebody changes while it is read.
pub(super) struct Live {
    /// What tells it from others in each thread's store.
    id: u64,
    /// Counts changes, so that threads need no lock to see that there was none.
    version: AtomicU64,
    set: Mutex<Arc<NetworkSet>>,
}

impl Live {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, version: AtomicU64::new(0), set: Mutex::default() }
    }

    fn set(&self, networks: NetworkSet) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(networks);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn contains(&self, ip: std::net::IpAddr) -> bool {
        thread_local! {
            /// This thread's copies, and of which version they are.
            static COPIES: RefCell<HashMap<u64, (u64, Arc<NetworkSet>)>> = RefCell::default();
        }
        let version = self.version.load(Ordering::Acquire);
        if version == 0 {
            return false;
        }
        COPIES.with_borrow_mut(|copies| {
            if copies.len() >= COPIES_MAX && !copies.contains_key(&self.id) {
                copies.clear();
            }
            let copy = copies.entry(self.id).or_default();
            if copy.0 != version {
                *copy = (version, self.set.lock().unwrap_or_else(PoisonError::into_inner).clone());
            }
            copy.1.contains(ip)
        })
    }
}

impl List {
    pub(super) fn contains(&self, client: &Addr) -> bool {
        let Some(ip) = client.ip() else { return false };
        match &self.networks {
            Networks::Fixed(set) => set.contains(ip.ip()),
            Networks::Live(live) => live.contains(ip.ip()),
        }
    }
}

impl Line {
    pub(super) fn compile(&self, cx: &mut Compile<'_>) -> Result<List, Error> {
        let name = self.place.text.as_str().into();
        if let Some(path) = self.place.strip_prefix("file:") {
            return Ok(List { name, networks: Networks::Fixed(read(&self.place, path, cx)?) });
        }
        if Url::parse(&self.place).is_none() {
            return Err(Error::at(self.place.span, format!("invalid blocklist \"{}\"", self.place))
                .advise("file: and a path, or an http or https address"));
        }
        let before = cx.previous.and_then(|it| it.get::<Lists>()).and_then(|it| it.0.get(&self.place.text));
        let before = before.map(|(live, _)| live.clone());
        let lists = cx.shared.get_or_default::<Lists>();
        let new = || (before.unwrap_or_else(|| Arc::new(Live::new())), self.refresh);
        let (live, refresh) = lists.0.entry(self.place.text.clone()).or_insert_with(new);
        *refresh = self.refresh.min(*refresh);
        Ok(List { name, networks: Networks::Live(live.clone()) })
    }
}

fn read(word: &Word, path: &str, cx: &mut Compile<'_>) -> Result<NetworkSet, Error> {
    let full = cx.conf_path(path);
    let shown = full.display();
    let fail = |why: String| Error::at(word.span, why);
    let bytes = cx.files.read(&full).map_err(|why| fail(format!("cannot read \"{shown}\" ({why})")))?;
    cx.watch(path);
    let networks = read_list(&bytes, NETWORKS_MAX).map_err(|why| match why {
        Some((line, text)) => fail(format!("\"{text}\" in {shown}:{line} is no address or network")),
        None => fail(format!("\"{shown}\" lists more than {NETWORKS_MAX} networks")),
    })?;
    Ok(NetworkSet::new(&networks))
}

/// Fetches the lists of the web again and again until the tasks are ended.
pub fn keep_fresh(shared: &Shared, log: &ErrorLog) -> Vec<Task> {
    let lists = shared.get::<Lists>().into_iter().flat_map(|it| &it.0);
    lists
        .map(|(url, (live, refresh))| {
            runtime::spawn(fetch_again(url.clone(), live.clone(), *refresh, log.clone()))
        })
        .collect()
}

async fn fetch_again(url: String, live: Arc<Live>, refresh: Duration, log: ErrorLog) {
    loop {
        let from = url.clone();
        let pause = match runtime::blocking(move || fetch(&from)).await {
            Ok(networks) => {
                let n = networks.len();
                log.write(Level::Notice, &format_args!("blocklist \"{url}\" has {n} ranges of addresses"));
                live.set(networks);
                refresh
            }
            Err(why) => {
                log.write(Level::Error, &format_args!("blocklist \"{url}\" stays as it is: {why}"));
                refresh.min(RETRY)
            }
        };
        clock::sleep(pause).await;
    }
}

fn fetch(url: &str) -> Result<NetworkSet, String> {
    let bytes = get(url)?;
    let networks = read_list(&bytes, NETWORKS_MAX).map_err(|why| match why {
        Some((line, text)) => format!("\"{}\" in line {line} is no address or network", text.escape_debug()),
        None => format!("it lists more than {NETWORKS_MAX} networks"),
    })?;
    Ok(NetworkSet::new(&networks))
}
