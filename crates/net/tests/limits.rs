//! What happens when descriptors run out; alone in its program, whose limit it lowers.

use std::time::Duration;

use foregate_net::{Addr, ConnectOptions, ListenSpec, Listener, Stream, clock, process};

mod driver;

use driver::run;

/// CPU time this thread has used.
fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

#[test]
fn a_listener_without_descriptors_rests_and_recovers() {
    run(async {
        let listener = Listener::bind(&ListenSpec::new(Addr::Ip("127.0.0.1:0".parse().unwrap()))).unwrap();
        let client = Stream::connect(listener.addr(), &ConnectOptions::default()).await.unwrap();
        process::set_nofile_limit(64).unwrap();
        let mut taken = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            taken.push(file);
        }
        let error = listener.accept().await.err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let before = cpu_time();
        clock::sleep(Duration::from_millis(100)).await;
        assert!(cpu_time() - before < Duration::from_millis(20), "the loop spins");
        taken.clear();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, *client.local_addr());
    })
    .unwrap();
}
