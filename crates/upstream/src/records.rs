//! Connections over which an answer comes in records: what of it is the answer, and what is said beside it.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use foregate_net::Conn;
use foregate_wire::Buf;
use foregate_wire::fastcgi::{Decoder, Record};

use crate::carrier::News;

/// Takes the answer out of the records of one request.
#[derive(Default)]
pub(crate) struct Records {
    decoder: Decoder,
    /// Received and not yet taken apart.
    rest: Buf,
    /// The peer leaves the connection open for another request.
    pub(crate) keeps: bool,
    /// What was said beside the answer and nobody has heard yet. Never more than one: nothing is read meanwhile.
    news: Option<News>,
}

const EARLY: &str = "upstream prematurely closed FastCGI request";

impl Records {
    pub(crate) fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// What there is of news.
    pub(crate) fn news(&mut self) -> Option<News> {
        self.news.take()
    }

    /// More of the answer. Nothing: there are [`Records::news`], or without any the peer has closed.
    pub(crate) fn poll_recv(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        loop {
            let news = match self.decoder.next(&mut self.rest) {
                Ok(Some(Record::Stdout(piece))) => return Poll::Ready(Ok(piece)),
                Ok(Some(Record::Stderr(piece))) => News::Stderr(piece),
                Ok(Some(Record::StdoutOver)) => News::StdoutOver,
                Ok(Some(Record::End { clean })) => News::End { clean, early: EARLY },
                Err(error) => News::Wrong(error.text()),
                Ok(None) => {
                    self.rest = ready!(conn.poll_recv(cx))?;
                    match self.rest.is_empty() {
                        true => return Poll::Ready(Ok(Buf::default())),
                        false => continue,
                    }
                }
            };
            self.news = Some(news);
            return Poll::Ready(Ok(Buf::default()));
        }
    }
}

/// What stands in the error log of what a peer said: without what ends its line.
pub(crate) fn said(stderr: &[u8]) -> String {
    let end =
        stderr.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | b'.' | b' ')).map_or(1, |at| at + 1);
    format!("FastCGI sent in stderr: \"{}\"", String::from_utf8_lossy(&stderr[..end.min(stderr.len())]))
}

/// The pieces of a body, each with the head of its record before it.
pub(crate) fn stdin(pieces: Vec<Buf>) -> Vec<Buf> {
    use foregate_wire::fastcgi::{STDIN_BYTES_MAX, stdin_header};
    let mut records = Vec::with_capacity(2 * pieces.len());
    let mut pieces = VecDeque::from(pieces);
    while let Some(mut piece) = pieces.pop_front() {
        while !piece.is_empty() {
            let content = piece.split_to(piece.len().min(STDIN_BYTES_MAX));
            records.push(Buf::from_vec(stdin_header(content.len()).to_vec()));
            records.push(content);
        }
    }
    records
}
