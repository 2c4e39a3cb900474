//! Random bodies, in random pieces, for random clients: what is packed comes back as it was, whatever the coding.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use foregate_core::{Body, BodyError, Exchange, Reply, Source};
use foregate_wire::Buf;

use crate::encoding::{Coding, Offers, accept, rank};
use crate::testing::Site;
use crate::{brotli, gzip, zstd};

const CASES: u64 = 10_000;
/// Each case's numbers follow from its own, so that a failing one can be run alone.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn body(&mut self) -> Vec<u8> {
        let most = self.one_of(&[2, 30, 300, 1000, 1000, 3000, 3000, 10_000])
            * if self.below(300) == 0 { 40 } else { 1 };
        let (len, letters) = (self.below(most), self.one_of(&[1, 4, 26, 256]));
        let mut body: Vec<u8> = Vec::with_capacity(len);
        while body.len() < len {
            let run = (1 + self.below(40)).min(len - body.len());
            match self.below(3) {
                0 if body.len() > run => body.extend_from_within(body.len() - run..),
                _ => (0..run).for_each(|_| body.push(self.below(letters) as u8)),
            }
        }
        body
    }

    /// Pieces in order; an empty one is a pause.
    fn pieces(&mut self, body: &[u8]) -> VecDeque<Vec<u8>> {
        let (mut pieces, mut at) = (VecDeque::new(), 0);
        let most = self.one_of(&[3, 100, 2000, 100_000]).max(body.len() / 20 + 1);
        let pauses = self.one_of(&[0, 2, 5]);
        while at < body.len() {
            let end = (at + 1 + self.below(most)).min(body.len());
            pieces.push_back(body[at..end].to_vec());
            if pauses > 0 && self.below(pauses) == 0 {
                pieces.push_back(Vec::new());
            }
            at = end;
        }
        pieces
    }

    fn accept(&mut self) -> String {
        let member = |random: &mut Self| {
            let coding = random.one_of(&[
                "gzip", "br", "zstd", "zstd", "br", "GZip", "deflate", "identity", "*", "gzipp", "",
            ]);
            let q = [
                "",
                "",
                "",
                ";q=1",
                ";q=0",
                "; q=0.5",
                ";q=0.001",
                " ;q=1.000",
                ";Q=0.9",
                ";q=2",
                ";q=",
                ";",
                ";x=1",
            ];
            format!("{coding}{}", random.one_of(&q))
        };
        let n = 1 + self.below(4);
        let members: Vec<String> = (0..n).map(|_| member(self)).collect();
        members.join(self.one_of(&[",", ", ", " , "]))
    }
}

struct Script {
    /// Bytes told so far.
    told: Rc<Cell<usize>>,
    pieces: VecDeque<Vec<u8>>,
    len: Option<u64>,
}

impl Source for Script {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        match self.pieces.pop_front() {
            Some(piece) if piece.is_empty() => Poll::Pending,
            piece => {
                self.told.set(self.told.get() + piece.as_ref().map_or(0, Vec::len));
                Poll::Ready(Ok(piece.map(Buf::from_vec)))
            }
        }
    }

    fn len(&self) -> Option<u64> {
        self.len
    }
}

/// As the server's filters do.
fn pack(site: &Site, ex: &mut Exchange, reply: &mut Reply) -> Option<Coding> {
    let on = site.settings();
    let (zstd_on, brotli_on, gzip_on) = (on.zstd.as_ref()?, on.brotli.as_ref()?, on.gzip.as_ref()?);
    let offers = Offers {
        zstd: zstd::fits(zstd_on, ex, reply),
        brotli: brotli::fits(brotli_on, ex, reply),
        gzip: gzip::fits(gzip_on, ex, reply),
    };
    let [best, ..] = rank(on.encoding.as_deref(), ex, reply, offers);
    match best? {
        Coding::Zstd => zstd::filter(zstd_on, ex, reply),
        Coding::Brotli => brotli::filter(brotli_on, ex, reply),
        Coding::Gzip => gzip::filter(gzip_on, ex, reply),
    }
    best
}

/// What a client makes of the bytes, as far as they go; whether they end where they should.
fn unpacked(coding: Option<Coding>, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let read = match coding {
        None => {
            out.extend_from_slice(bytes);
            Ok(0)
        }
        Some(Coding::Gzip) => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        Some(Coding::Brotli) => ::brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        Some(Coding::Zstd) => {
            let decoder = ::zstd::stream::read::Decoder::new(bytes);
            decoder.and_then(|mut it| it.read_to_end(&mut out))
        }
    };
    (out, read.is_ok())
}

fn check(site: &Site, number: u64) -> Option<Coding> {
    let mut random = Random(SEED.wrapping_mul(number + 1));
    let plain = random.body();
    let accept = random.accept();
    let mut ex = site.exchange(&format!("GET / HTTP/1.1\nHost: h\nAccept-Encoding: {accept}"));
    let mut reply = Reply { status: 200, ..Reply::default() };
    reply.fields.push(b"Content-Type", b"text/html");
    let (known, told) = (random.below(3) > 0, Rc::new(Cell::new(0)));
    let mut streams = false;
    reply.body = match random.below(4) {
        0 => Body::Bytes(Buf::from_vec(plain.clone())),
        _ => {
            streams = !known;
            let (pieces, len) = (random.pieces(&plain), known.then_some(plain.len() as u64));
            Body::Source(Box::new(Script { told: told.clone(), pieces, len }))
        }
    };
    let coding = pack(site, &mut ex, &mut reply);
    let said = reply.fields.get(b"Content-Encoding");
    assert_eq!(said, coding.map(Coding::name), "case {number}");
    let taken = match coding {
        None => true,
        Some(Coding::Gzip) => accept::takes_gzip(accept.as_bytes()),
        Some(other) => accept::weight_of(accept.as_bytes(), other.name()) > 0,
    };
    assert!(taken, "case {number}: {coding:?} for {accept}");
    let (mut source, mut packed) = (reply.body.into_source(), Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    let mut checks = if streams && number.is_multiple_of(4) { 3 } else { 0 };
    loop {
        match source.poll_next(&mut cx) {
            Poll::Ready(Ok(Some(bytes))) => packed.extend_from_slice(&bytes),
            Poll::Ready(Ok(None)) => break,
            Poll::Ready(Err(why)) => panic!("case {number}: {why:?}"),
            Poll::Pending if checks > 0 => {
                checks -= 1;
                let (seen, _) = unpacked(coding, &packed);
                assert!(seen == plain[..told.get()], "case {number}: {coding:?}, {} flushed", seen.len());
            }
            Poll::Pending => (),
        }
    }
    let (seen, ended) = unpacked(coding, &packed);
    assert!(ended && seen == plain, "case {number}: {coding:?} of {} bytes", plain.len());
    coding
}

#[test]
fn ten_thousand_answers_come_back() {
    let levels = [(1, 1, 1), (6, 4, 3), (9, 0, 5), (4, 5, 9), (2, 2, 2)];
    let sites = levels.map(|(gzip, brotli, zstd)| {
        Site::new(&format!(
            "gzip on; gzip_min_length 0; gzip_comp_level {gzip}; brotli on; brotli_min_length 0;
             brotli_comp_level {brotli}; zstd on; zstd_min_length 0; zstd_comp_level {zstd};"
        ))
    });
    let mut counts = [0; 4];
    for number in 0..CASES {
        let coding = check(&sites[number as usize % sites.len()], number);
        counts[coding.map_or(3, |it| it as usize)] += 1;
    }
    assert!(counts.iter().all(|it| *it > CASES / 20), "{counts:?} of each coding, and of none");
}

#[test]
fn dear_levels_come_back_too() {
    let site = Site::new(
        "gzip on; gzip_comp_level 9; brotli on; brotli_comp_level 11; brotli_window 1k; zstd on; zstd_comp_level 19;",
    );
    (0..60).for_each(|number| _ = check(&site, number));
}
