//! Memory that one exchange leaves to the next on the same thread.

use std::cell::RefCell;

use foregate_wire::h1::ResponseHead;

/// Exchanges that use scratch memory at once, beyond which it is freed again.
const KEPT_MAX: usize = 64;
/// A buffer that grew beyond this (a large body was in it) is not kept.
const KEPT_BYTES_MAX: usize = 64 << 10;

type Kept = (Vec<Vec<u8>>, Vec<Box<ResponseHead>>);

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// An empty buffer for a request's head.
pub(crate) fn bytes() -> Vec<u8> {
    KEPT.with_borrow_mut(|kept| kept.0.pop()).unwrap_or_default()
}

pub(crate) fn head() -> Box<ResponseHead> {
    KEPT.with_borrow_mut(|kept| kept.1.pop()).unwrap_or_default()
}

/// Gives both back.
pub(crate) fn keep(mut bytes: Vec<u8>, head: Box<ResponseHead>) {
    KEPT.with_borrow_mut(|(buffers, heads)| {
        if buffers.len() < KEPT_MAX && bytes.capacity() <= KEPT_BYTES_MAX {
            bytes.clear();
            buffers.push(bytes);
        }
        if heads.len() < KEPT_MAX {
            heads.push(head);
        }
    });
}
