//! New hashes for password files (`foregate hash-password`).

use aws_lc_rs::rand;

use super::{memory_hard, sha_crypt};

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `$2y$`, which every nginx and Apache understands; the cost is a power of two.
    Bcrypt { cost: u32 },
    /// `$argon2id$`: 64 MiB, three passes.
    Argon2id,
    /// `$y$`: 16 MiB, as in Debian's /etc/shadow.
    Yescrypt,
    /// `$6$`, by SHA-512 alone.
    Sha512,
}

/// bcrypt looks at no more of a password.
const BCRYPT_BYTES_MAX: usize = 72;
/// A quarter of a second.
pub const BCRYPT_COST: u32 = 12;
const SALT_BYTES: usize = 16;

impl Algorithm {
    /// What [`Algorithm::named`] takes, for help texts.
    pub const NAMES: &'static str = "bcrypt, argon2id, yescrypt, sha512";

    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bcrypt" => Self::Bcrypt { cost: BCRYPT_COST },
            "argon2id" => Self::Argon2id,
            "yescrypt" => Self::Yescrypt,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// The text that stands behind the name and the colon in a password file, with a salt of its own.
    ///
    /// # Errors
    /// The password does not suit the algorithm, in words for who typed it.
    pub fn hash(self, password: &[u8]) -> Result<String, String> {
        if password.contains(&0) {
            return Err("a password cannot hold a zero byte".into());
        }
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| "the system gives no random bytes".to_owned())?;
        let failed = || "the hash could not be computed".to_owned();
        match self {
            Self::Bcrypt { .. } if password.len() > BCRYPT_BYTES_MAX => Err(format!(
                "bcrypt looks at no more than {BCRYPT_BYTES_MAX} bytes, and the password has {}: take --algorithm argon2id",
                password.len()
            )),
            Self::Bcrypt { cost } => {
                let parts = bcrypt::hash_with_salt(password, cost, salt).map_err(|why| why.to_string())?;
                Ok(parts.format_for_version(bcrypt::Version::TwoY))
            }
            Self::Argon2id => memory_hard::make_argon(password, &salt).ok_or_else(failed),
            Self::Yescrypt => memory_hard::make_yescrypt(password, &salt).ok_or_else(failed),
            Self::Sha512 => {
                let mut digits = Vec::new();
                for group in salt[..12].chunks(3) {
                    let bits = group.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                    super::hash::push_digits(bits, 4, &mut digits);
                }
                let stored = [b"$6$", &digits[..]].concat();
                let made = sha_crypt::crypt(password, &stored).and_then(|it| String::from_utf8(it).ok());
                made.ok_or_else(failed)
            }
        }
    }
}

/// Whether a password fits a stored hash: what the server would say.
pub fn fits(stored: &str, password: &[u8]) -> bool {
    super::hash::verify_now(stored.as_bytes(), password) == Ok(true)
}
