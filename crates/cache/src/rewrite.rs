//! An object with another head: its body is copied into a new file, which takes the place of the old one.

use foregate_core::{Body, Reporter, Source, TempDir, next};
use foregate_net::runtime;

use crate::hold::Hold;
use crate::object::Object;
use crate::writer::{Draft, Writer};
use crate::zone::Zone;

/// What is longer is copied beside the request that led to it, piece by piece.
const AT_ONCE_BYTES_MAX: u64 = 256 << 10;

/// Stores an object anew as `draft` says, with the body that it has. A failure has been logged, and leaves the old one.
pub fn rewrite(
    zone: &Zone,
    hold: Hold,
    object: &Object,
    draft: &Draft<'_>,
    temp: &TempDir,
    reporter: Reporter,
) {
    let Some(mut writer) = Writer::begin(zone, hold, draft, temp, &reporter) else { return };
    match object.body() {
        Body::Empty => writer.finish_with(&[], &reporter),
        Body::Bytes(bytes) => writer.finish_with(&bytes, &reporter),
        Body::File(slice) if slice.len() <= AT_ONCE_BYTES_MAX => {
            let (mut slice, mut body) = (slice, Vec::new());
            if slice.read_all(&mut body).is_ok_and(|whole| whole) {
                writer.finish_with(&body, &reporter);
            }
        }
        body => {
            let mut source: Box<dyn Source> = body.into_source();
            runtime::spawn(async move {
                while let Ok(piece) = next(&mut *source).await {
                    match piece {
                        None => return writer.finish(&reporter),
                        Some(piece) if writer.write(&piece, &reporter).is_err() => return,
                        Some(_) => runtime::yield_now().await,
                    }
                }
            })
            .detach();
        }
    }
}
