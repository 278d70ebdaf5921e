//! Bytes that outlive a process or cross a pipe: one version byte, then bincode.
//!
//! This is the only file that names bincode, so that another codec is a change of one file. Types encoded
//! here are never recursive: a nested input would overflow the stack, which no limit on bytes prevents.

pub mod frame;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not what they should be. The value has not been made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There is not even a version.
    #[error("no bytes")]
    Empty,
    /// Longer than may be.
    #[error("{bytes} bytes, {limit} are the limit")]
    Long {
        /// How many.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Written by a version that is not spoken here.
    #[error("version {found}, {known} is known")]
    Version {
        /// The byte found.
        found: u8,
        /// The version spoken here.
        known: u8,
    },
    /// Not an encoding of the type.
    #[error("undecodable: {message}")]
    Undecodable {
        /// What the codec said.
        message: String,
    },
    /// Something follows the value.
    #[error("{bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// `value`, preceded by `version`.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    put(value, &mut bytes);
    bytes
}

/// Appends `value` alone.
pub(crate) fn put<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, bytes, bincode::config::standard())
        .expect("writing to memory cannot fail, and our types have no unencodable values");
}

/// The value in `bytes`, which must be exactly one of version `version` and at most `limit` bytes long.
/// Claimed lengths inside are checked against [`DECODED_MAX`] before anything is allocated for them.
pub fn decode<T: DeserializeOwned>(
    version: u8,
    bytes: &[u8],
    limit: usize,
) -> Result<T, WireError> {
    if bytes.len() > limit {
        return Err(WireError::Long {
            bytes: bytes.len(),
            limit,
        });
    }
    let (&found, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if found != version {
        return Err(WireError::Version {
            found,
            known: version,
        });
    }
    take(body)
}

/// The value that `bytes` begin with, and how many of them it is.
pub(crate) fn first<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), WireError> {
    let config = bincode::config::standard().with_limit::<DECODED_MAX>();
    bincode::serde::decode_from_slice(bytes, config).map_err(|error| WireError::Undecodable {
        message: error.to_string(),
    })
}

/// The value that `body` is, with nothing after it.
fn take<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    let (value, read) = first(body)?;
    match body.len() - read {
        0 => Ok(value),
        bytes => Err(WireError::Trailing { bytes }),
    }
}

/// What one decoded value may take in memory: the largest is a request with 8 MiB of messages.
const DECODED_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_nothing_else_does() {
        let value = ("text".to_owned(), vec![1u64, 2, 300]);
        let bytes = encode(3, &value);
        assert_eq!(decode(3, &bytes, 100), Ok(value));
        let mut longer = bytes.clone();
        longer.push(0);
        let refused: &[(&[u8], u8, usize)] = &[
            (&[], 3, 100),
            (&bytes, 2, 100),
            (&bytes, 3, 5),
            (&bytes[..4], 3, 100),
            (&longer, 3, 100),
        ];
        for (bytes, version, limit) in refused {
            assert!(decode::<(String, Vec<u64>)>(*version, bytes, *limit).is_err());
        }
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        // A string that claims 2^62 bytes.
        let bytes = [1, 253, 0, 0, 0, 0, 0, 0, 0, 64];
        assert!(decode::<String>(1, &bytes, 100).is_err());
    }
}
