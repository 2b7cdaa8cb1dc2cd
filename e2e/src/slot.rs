//! A slot keeps the clusters on one machine apart: each has loopback addresses and ports of its own.
//!
//! A slot is a number held by a file lock, so it is free again as soon as its holder is gone, however it ended.

use std::{
    env,
    fs::{self, File, Permissions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

const SLOTS: u8 = 200;
/// Below the range that Linux takes client ports from, and below NodePorts: a stopped server finds its port free again.
const FIRST_PORT: u16 = 20_000;
const PORTS_PER_SLOT: u16 = 40;

/// The number of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u8);

/// A slot that this process holds until this is dropped.
#[derive(Debug)]
pub struct HeldSlot {
    /// Which one.
    pub slot: Slot,
    _lock: File,
}

impl HeldSlot {
    /// Takes the first slot that nobody holds.
    pub fn take() -> Result<Self> {
        let directory = directory();
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        // Shared by all users of the machine; it fails when another user made it, which is fine.
        let _ = fs::set_permissions(&directory, Permissions::from_mode(0o1777));
        match (1..=SLOTS).find_map(|number| Self::try_take(Slot(number))) {
            Some(held) => Ok(held),
            None => bail!(
                "no slot for another cluster: {SLOTS} are held in {}",
                directory.display()
            ),
        }
    }

    /// Takes this very slot, if nobody holds it.
    pub fn try_take(slot: Slot) -> Option<Self> {
        let file = open(&directory().join(slot.0.to_string()))?;
        file.try_lock().is_ok().then_some(Self { slot, _lock: file })
    }
}

fn directory() -> PathBuf {
    env::temp_dir().join("bailiwick-slots")
}

/// Opens a lock file that this or another user made, or makes it.
fn open(path: &Path) -> Option<File> {
    File::open(path).or_else(|_| File::create(path)).ok()
}

impl Slot {
    /// From the number, as the supervisor reports it.
    pub fn from_number(number: u8) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The folder of a cluster in this slot, under `scratch`.
    pub fn directory(self, scratch: &Path) -> PathBuf {
        scratch.join(format!("slot-{}", self.0))
    }

    /// The loopback address of the slot's `host`: one for each replica.
    pub fn address(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 66, self.0, host)
    }

    /// The first of the slot's ports, for a cluster that has all ports of its machine to itself.
    pub fn all_ports<const N: usize>(self) -> [u16; N] {
        let mut next = self.range();
        [0; N].map(|_| next.next().unwrap_or(FIRST_PORT))
    }

    fn range(self) -> Range<u16> {
        let first = FIRST_PORT + u16::from(self.0) * PORTS_PER_SLOT;
        first..first + PORTS_PER_SLOT
    }

    /// As many free ports on 127.0.0.1 as asked for.
    pub fn ports<const N: usize>(self) -> Result<[u16; N]> {
        let range = self.range();
        let mut free = range.clone().filter(|port| is_free(*port));
        let mut ports = [0; N];
        for port in &mut ports {
            let Some(next) = free.next() else {
                bail!(
                    "other programs use the ports {range:?} of 127.0.0.1: stop them or start fewer clusters"
                )
            };
            *port = next;
        }
        Ok(ports)
    }
}

/// Whether a server could listen on `port` of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_holders_never_share_a_slot() {
        let (one, two) = (HeldSlot::take().unwrap(), HeldSlot::take().unwrap());
        assert_ne!(one.slot, two.slot);
        assert_ne!(one.slot.address(2), two.slot.address(2));
    }

    #[test]
    fn used_ports_are_passed_over() {
        let held = HeldSlot::take().unwrap();
        let [first] = held.slot.ports().unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let others: [u16; 3] = held.slot.ports().unwrap();
        assert!(!others.contains(&first));
        // Where nobody else listens, it stays.
        let all: [u16; 3] = held.slot.all_ports();
        assert_eq!(all[0], first);
    }

    #[test]
    fn all_ports_stay_below_the_node_ports() {
        assert!(u32::from(FIRST_PORT) + u32::from(SLOTS + 1) * u32::from(PORTS_PER_SLOT) <= 30_000);
    }
}
