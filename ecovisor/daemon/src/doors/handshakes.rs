//! Room for TLS handshakes. Whoever begins one has no name yet, so it is counted by where it comes from: one machine that
//! opens connections and stays silent does not keep the others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes at the same time: each holds a file and some tens of kilobytes, and costs a signature, about a tenth of a
/// millisecond.
const ALL_MAX: usize = 256;

/// Of one network: an eighth, so that it takes eight machines at least to fill the door.
pub const PER_NETWORK_MAX: usize = 32;

/// Who shakes hands.
#[derive(Clone, Debug)]
pub struct Handshakes {
    all: Arc<Semaphore>,
    of: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL_MAX)), of: Arc::default() }
    }
}

/// A place among all; whose it is shows when somebody has connected.
#[derive(Debug)]
pub struct Free(OwnedSemaphorePermit);

/// A place, given back when the handshake ends.
#[derive(Debug)]
pub struct Handshake {
    _permit: OwnedSemaphorePermit,
    network: IpAddr,
    of: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Handshakes {
    /// Waits for room: connections that come meanwhile wait in the system.
    pub async fn free(&self) -> Option<Free> {
        self.all.clone().acquire_owned().await.ok().map(Free)
    }

    /// The place of somebody who comes from there; `None` where its network has too many already.
    #[must_use]
    pub fn place(&self, free: Free, from: IpAddr) -> Option<Handshake> {
        let network = network(from);
        let mut taken = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(network).or_default();
        if *own >= PER_NETWORK_MAX {
            return None;
        }
        *own += 1;
        Some(Handshake { _permit: free.0, network, of: self.of.clone() })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut taken = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.network) {
            *own -= 1;
        }
        taken.retain(|_, own| *own > 0);
    }
}

/// An IPv4 address, or the 64 bits of IPv6 that one customer has at least (RFC 6177).
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_network_does_not_take_all_places_and_each_comes_back() {
        let handshakes = Handshakes::default();
        let (here, there): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut held = Vec::new();
        for _ in 0..PER_NETWORK_MAX {
            held.push(handshakes.place(handshakes.free().await.unwrap(), here).unwrap());
        }
        assert!(handshakes.place(handshakes.free().await.unwrap(), here).is_none());
        assert!(handshakes.place(handshakes.free().await.unwrap(), there).is_some());
        held.pop();
        assert!(handshakes.place(handshakes.free().await.unwrap(), here).is_some());
        drop(held);
        assert!(handshakes.of.lock().unwrap().is_empty());
        assert_eq!(handshakes.all.available_permits(), ALL_MAX);
    }

    #[test]
    fn a_network_is_an_address_or_64_bits_of_one() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("10.0.0.1"), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
