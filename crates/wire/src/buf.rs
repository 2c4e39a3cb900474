//! Bytes that many may hold: `Buf` is a cheap slice, `Block` the pooled memory that reads fill.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::Arc;

/// Free blocks one thread keeps for reuse (17 MiB); what comes back beyond that is freed.
const POOL_BLOCKS_MAX: usize = 256;

thread_local! {
    static POOL: RefCell<Vec<Rc<Page>>> = const { RefCell::new(Vec::new()) };
}

/// The memory of one block: `PAGE_BYTES`, zeroed once when it is first allocated.
type Page = Vec<u8>;

/// Blocks begin at one of so many places in their pages, so far apart: short messages in many blocks would contend for
/// the same few lines of the processor's caches if each began where a power of two does.
const N_COLORS: usize = 16;
const COLOR_BYTES: usize = 256;
const PAGE_BYTES: usize = Buf::BLOCK + (N_COLORS - 1) * COLOR_BYTES;

/// An immutable slice of shared bytes. Cloning and slicing count references and copy nothing.
pub struct Buf {
    store: Store,
    start: usize,
    end: usize,
}

#[derive(Clone)]
enum Store {
    Static(&'static [u8]),
    Shared(Rc<Vec<u8>>),
    /// Other threads have it as well.
    Common(Arc<Vec<u8>>),
    Pooled(Rc<Page>),
}

impl Buf {
    /// Bytes in one pooled block: also the most that one read returns.
    pub const BLOCK: usize = 64 * 1024;

    /// Takes over `bytes` without copying them.
    pub fn from_vec(bytes: Vec<u8>) -> Buf {
        Buf { start: 0, end: bytes.len(), store: Store::Shared(Rc::new(bytes)) }
    }

    /// Refers to bytes that all threads share.
    pub fn from_common(bytes: Arc<Vec<u8>>) -> Buf {
        Buf { start: 0, end: bytes.len(), store: Store::Common(bytes) }
    }

    /// Refers to bytes of the program itself.
    pub const fn from_static(bytes: &'static [u8]) -> Buf {
        Buf { start: 0, end: bytes.len(), store: Store::Static(bytes) }
    }

    /// A private copy of `bytes`, which lets go of whatever block they stand in.
    pub fn copy_from(bytes: &[u8]) -> Buf {
        if bytes.is_empty() { Buf::default() } else { Buf::from_vec(bytes.to_vec()) }
    }

    /// The part `range` of this slice. Panics when it reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Buf {
        assert!(range.start <= range.end && range.end <= self.len(), "a slice lies inside its buffer");
        Buf { store: self.store.clone(), start: self.start + range.start, end: self.start + range.end }
    }

    /// Drops the first `n` bytes. Panics when there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "no more is consumed than there is");
        self.start += n;
    }

    /// Keeps the first `n` bytes; does nothing when there are fewer.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start.saturating_add(n));
    }

    /// Cuts off the first `n` bytes and returns them. Panics when there are fewer.
    pub fn split_to(&mut self, n: usize) -> Buf {
        if n == self.len() {
            return std::mem::take(self);
        }
        let head = self.slice(0..n);
        self.start += n;
        head
    }
}

impl Deref for Buf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.store {
            Store::Static(bytes) => &bytes[self.start..self.end],
            Store::Shared(bytes) | Store::Pooled(bytes) => &bytes[self.start..self.end],
            Store::Common(bytes) => &bytes[self.start..self.end],
        }
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Clone for Buf {
    #[inline]
    fn clone(&self) -> Buf {
        Buf { store: self.store.clone(), start: self.start, end: self.end }
    }
}

impl Default for Buf {
    #[inline]
    fn default() -> Buf {
        Buf::from_static(b"")
    }
}

impl Drop for Buf {
    #[inline]
    fn drop(&mut self) {
        if let Store::Pooled(page) = &self.store
            && Rc::strong_count(page) == 1
            && let Store::Pooled(page) = std::mem::replace(&mut self.store, Store::Static(b""))
        {
            give_back(page);
        }
    }
}

impl PartialEq for Buf {
    fn eq(&self, other: &Buf) -> bool {
        **self == **other
    }
}

impl Eq for Buf {}

impl PartialEq<[u8]> for Buf {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Buf {
        Buf::from_vec(bytes)
    }
}

impl From<&'static str> for Buf {
    fn from(text: &'static str) -> Buf {
        Buf::from_static(text.as_bytes())
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// A writable block of `Buf::BLOCK` bytes out of this thread's pool, not shared with anybody yet.
pub struct Block {
    /// `None` only once `fill` has moved the page into a `Buf`.
    page: Option<Rc<Page>>,
}

impl Block {
    /// A free block of this thread, or a new one.
    #[inline]
    pub fn take() -> Block {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).unwrap_or(None);
        Block { page: Some(pooled.unwrap_or_else(|| Rc::new(vec![0; PAGE_BYTES]))) }
    }

    /// All of the block, to be written from its start. It holds leftovers of its last use.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        let page = self.page.as_mut().expect("because only fill, which consumes the block, takes the page");
        let start = start(page);
        let page = Rc::get_mut(page).expect("because a page is unshared until fill");
        &mut page[start..start + Buf::BLOCK]
    }

    /// Makes the first `n` bytes a shared slice. Panics when `n` exceeds the block.
    #[inline]
    pub fn fill(mut self, n: usize) -> Buf {
        assert!(n <= Buf::BLOCK, "no more was written than fits");
        let page = self.page.take().expect("because only fill, which consumes the block, takes the page");
        let start = start(&page);
        Buf { store: Store::Pooled(page), start, end: start + n }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            give_back(page);
        }
    }
}

/// Where the block begins in its page: by the page's address, so that neighbours differ.
#[inline]
fn start(page: &Page) -> usize {
    (page.as_ptr().addr() >> 14) % N_COLORS * COLOR_BYTES
}

/// Returns an unshared page to the pool. At thread exit the pool may be gone: then the page is freed.
fn give_back(page: Rc<Page>) {
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOL_BLOCKS_MAX {
            pool.push(page);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled() -> usize {
        POOL.with(|pool| pool.borrow().len())
    }

    #[test]
    fn slices_share_and_cut() {
        let mut buf = Buf::from_vec(b"hello world".to_vec());
        let world = buf.slice(6..11);
        assert_eq!(&*world, b"world");
        assert_eq!(&*world.slice(1..3), b"or");
        let hello = buf.split_to(5);
        assert_eq!(&*hello, b"hello");
        buf.advance(1);
        assert_eq!(buf, world);
        buf.truncate(100);
        buf.truncate(2);
        assert_eq!(&*buf, b"wo");
        let all = buf.split_to(2);
        assert!(buf.is_empty() && &*all == b"wo");
        assert_eq!(&*Buf::from_static(b"abc").slice(1..2), b"b");
        assert!(Buf::default().is_empty() && Buf::copy_from(b"").is_empty());
    }

    #[test]
    #[should_panic(expected = "inside its buffer")]
    fn a_slice_outside_panics() {
        let _ = Buf::from_static(b"abc").slice(2..4);
    }

    #[test]
    fn a_block_returns_when_its_last_slice_drops() {
        let before = pooled();
        let mut block = Block::take();
        assert_eq!(block.spare().len(), Buf::BLOCK);
        block.spare()[..5].copy_from_slice(b"bytes");
        let buf = block.fill(5);
        let part = buf.slice(1..3);
        drop(buf);
        assert_eq!(&*part, b"yt");
        let held = pooled();
        drop(part);
        assert_eq!(pooled(), held + 1);
        drop(Block::take());
        assert_eq!(pooled(), before.max(1));
    }

    #[test]
    fn the_pool_is_capped() {
        let blocks: Vec<Block> = (0..POOL_BLOCKS_MAX + 3).map(|_| Block::take()).collect();
        drop(blocks);
        assert_eq!(pooled(), POOL_BLOCKS_MAX);
    }
}
