//! What the machine sees of a node: one pair of network interfaces and one control group. Both go when it ends.

use std::{env, net::Ipv4Addr, path::Path, process::Stdio};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::cgroups::{Cgroups, PREFIX};
use crate::slot::{HeldSlot, Slot};

/// The variable with the first two numbers of all nodes' addresses.
const NETWORK: &str = "BAILIWICK_NODE_NETWORK";
/// Those that they have if nothing is set.
const DEFAULT_NETWORK: [u8; 2] = [10, 66];

/// A node's side of the machine. It is named after the slot, so nodes don't meet and a crashed one is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Host {
    slot: Slot,
    network: [u8; 2],
}

impl Host {
    pub(crate) fn of(slot: Slot) -> Self {
        let network = env::var(NETWORK).ok().and_then(|it| network(&it));
        Self {
            slot,
            network: network.unwrap_or(DEFAULT_NETWORK),
        }
    }

    /// The machine's own address towards the node.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.at(1)
    }

    /// The node's address.
    pub(crate) fn address(self) -> Ipv4Addr {
        self.at(10)
    }

    fn at(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.network[0], self.network[1], self.slot.number(), last)
    }

    /// The control group below which the kubelet makes its own.
    pub(crate) fn cgroup(self) -> String {
        format!("{PREFIX}{}", self.slot.number())
    }

    fn interface(self) -> String {
        format!("bailiwick-{}", self.slot.number())
    }

    /// Connects the network namespace of a process with the machine, and makes the control group.
    pub(crate) async fn connect(self, pid: u32) -> Result<()> {
        self.disconnect().await;
        self.check_that_the_address_is_free().await?;
        let (interface, pid) = (self.interface(), pid.to_string());
        let gateway = format!("{}/24", self.gateway());
        // The interface first: whoever finds the group without it knows that nobody needs it any more.
        ip(&[
            "link", "add", &interface, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ])
        .await?;
        ip(&["addr", "add", &gateway, "dev", &interface]).await?;
        ip(&["link", "set", &interface, "up"]).await?;
        Cgroups::default().make(&self.cgroup()).await
    }

    async fn check_that_the_address_is_free(self) -> Result<()> {
        let range = format!("{}/24", self.at(0));
        // Routes within the range and routes that it is within, addresses of the machine itself included.
        for way in ["root", "match"] {
            let routes = ip(&["-o", "route", "show", "table", "all", way, &range]).await?;
            if let Some(route) = routes.lines().find(|it| !is_default(it)) {
                bail!(
                    "the node's addresses {range} are taken on this machine (`{}`): end what uses them, for a crashed node with `make node-down`, or choose others, such as {NETWORK}=172.30",
                    route.trim()
                );
            }
        }
        Ok(())
    }

    /// Removes all of it, when the node's processes have ended.
    pub(crate) async fn remove(self) -> Result<()> {
        self.disconnect().await;
        Cgroups::default().remove(&self.cgroup()).await
    }

    /// Removes the interface, if its namespace didn't take it along.
    async fn disconnect(self) {
        // It is gone with its namespace nearly always.
        let _ = ip(&["link", "del", &self.interface()]).await;
    }

    fn has_interface(self) -> bool {
        Path::new("/sys/class/net").join(self.interface()).exists()
    }
}

/// Removes what nodes left on the machine whose process was killed, and says how many they were.
///
/// A control group that holds a process, or whose slot is held and whose interface is there, is a running node's.
pub(crate) async fn sweep() -> Result<usize> {
    let cgroups = Cgroups::default();
    let mut count = 0;
    for name in cgroups.of_nodes() {
        let Some(number) = name.strip_prefix(PREFIX).and_then(|it| it.parse().ok()) else {
            continue;
        };
        let host = Host::of(Slot::from_number(number));
        let held = HeldSlot::try_take(host.slot);
        if cgroups.is_busy(&name) || (held.is_none() && host.has_interface()) {
            continue;
        }
        if held.is_some() {
            host.disconnect().await;
        }
        cgroups.remove(&name).await?;
        count += 1;
    }
    Ok(count)
}

/// Says so if the variable that chooses the addresses is no such choice.
pub(super) fn check_network() -> Result<()> {
    match env::var(NETWORK) {
        Ok(text) if network(&text).is_none() => bail!(
            "{NETWORK}={text:?} isn't the first two numbers of an address: set it to such as 172.30, or unset it"
        ),
        _ => Ok(()),
    }
}

/// The way to everywhere stands for no addresses.
fn is_default(route: &str) -> bool {
    route.split_whitespace().take(2).any(|it| it == "default")
}

/// The first two numbers of an address.
fn network(text: &str) -> Option<[u8; 2]> {
    let (first, second) = text.trim().split_once('.')?;
    Some([first.parse().ok()?, second.parse().ok()?])
}

/// Runs iproute2.
async fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run ip")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_routes_than_the_default_take_addresses() {
        assert!(is_default("default via 10.0.0.1 dev eth0"));
        assert!(is_default("unreachable default dev lo metric 42"));
        assert!(!is_default("10.0.0.0/8 via 10.8.0.1 dev tun0"));
        assert!(!is_default("local 10.66.1.1 dev lo table local"));
    }

    #[test]
    fn the_network_can_be_chosen() {
        assert_eq!(network("172.30"), Some([172, 30]));
        assert_eq!(network("172.30.1"), None);
        assert_eq!(network("172"), None);
    }
}
