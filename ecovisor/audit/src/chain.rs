//! The chain: every journal entry carries the SHA-256 of its predecessor's link and its own bytes, so that one link
//! that somebody wrote down vouches for all that came before it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Link([u8; 32]);

impl Link {
    /// Before the first entry.
    pub const ORIGIN: Self = Self([0; 32]);

    /// The link after `payload`: SHA-256 of this link and the payload.
    #[must_use]
    pub fn after(self, payload: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(payload).finalize().into())
    }

    /// Its bytes, for the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_hash_of_what_came_before_and_the_payload() {
        // sha256sum of 32 zero bytes and "abc".
        let link = Link::ORIGIN.after(b"abc");
        assert_eq!(link.to_string(), "365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370");
        assert_ne!(Link::ORIGIN.after(b"abcd"), link);
        assert_ne!(link.after(b"abc"), link);
    }
}
