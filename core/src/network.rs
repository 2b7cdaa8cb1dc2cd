//! Address ranges: which networks a tenant may be let out to.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Ranges that no exception ever opens: link-local, loopback, "this network", multicast, IPv4 written as IPv6 or
/// tunnelled in it, and where clouds keep their metadata service outside of those.
const NEVER: [&str; 16] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "2002::/16",
    "fe80::/10",
    "ff00::/8",
    "168.63.129.16/32",       // Azure
    "100.100.100.200/32",     // Alibaba Cloud
    "192.0.0.192/32",         // Oracle Cloud
    "fd00:ec2::/32",          // AWS
    "fd00:c1::a9fe:a9fe/128", // Oracle Cloud
    "fd20:ce::254/128",       // Google Cloud
];

/// Ranges that are not the Internet: RFC 1918, 6598, 3927, 1122, 5771, 6890, 2544, 4193, 4291, 3056, 6052, 8215;
/// and Azure's metadata service, which has a public address.
const PRIVATE_V4: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];
const PRIVATE_V6: [&str; 7] = [
    "::1/128",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// Where a translator (NAT64, RFC 6052) turns IPv6 into IPv4.
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// The IPv4 range that an IPv6 range reaches through a translator.
fn translated(net: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(net) = net else { return None };
    if net.contains(&TRANSLATED) {
        return Some(Ipv4Net::default());
    }
    let last = u32::try_from(u128::from(net.network()) & u128::from(u32::MAX)).ok()?;
    let length = net.prefix_len().checked_sub(TRANSLATED.prefix_len())?;
    let inside = TRANSLATED
        .contains(net)
        .then(|| Ipv4Net::new(Ipv4Addr::from(last), length));
    inside?.ok()
}

fn nets<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = IpNet> + 'a {
    texts.iter().filter_map(|it| it.parse().ok())
}

/// Whether two ranges share an address, or one leads to an address of the other through a translator.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    let share = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    let leads = |a: &IpNet, b: &IpNet| translated(a).is_some_and(|it| share(&IpNet::V4(it), b));
    share(a, b) || leads(a, b) || leads(b, a)
}

/// The range that no exception ever opens and that `net` touches, if any.
pub fn never_open(net: &IpNet) -> Option<IpNet> {
    nets(&NEVER).find(|it| overlap(net, it))
}

/// A NetworkPolicy ipBlock: a range, less the ranges inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The range.
    pub cidr: IpNet,
    /// What is taken out of it.
    pub except: Vec<IpNet>,
}

/// The Internet: every address, less what is private and less the cluster's own ranges.
pub fn internet(cluster: &[IpNet]) -> [Block; 2] {
    let block = |all: IpNet, private: &[&str]| {
        let mut except: Vec<IpNet> = nets(private).collect();
        except.extend(cluster.iter().filter(|it| all.contains(*it) && *it != &all));
        except.sort();
        except.dedup();
        let kept: Vec<IpNet> = except
            .iter()
            .filter(|it| !except.iter().any(|other| other != *it && other.contains(*it)))
            .copied()
            .collect();
        Block {
            cidr: all,
            except: kept,
        }
    };
    [
        block(IpNet::V4(Ipv4Net::default()), &PRIVATE_V4),
        block(IpNet::V6(Ipv6Net::default()), &PRIVATE_V6),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn every_written_range_parses() {
        assert_eq!(nets(&NEVER).count(), NEVER.len());
        assert_eq!(nets(&PRIVATE_V4).count(), PRIVATE_V4.len());
        assert_eq!(nets(&PRIVATE_V6).count(), PRIVATE_V6.len());
    }

    #[test]
    fn the_metadata_service_is_never_open() {
        for text in [
            "169.254.169.254/32",
            "169.0.0.0/8",
            "0.0.0.0/0",
            "::ffff:a00:0/104",
            "fd00:ec2::254/128",
            "::/0",
            "168.63.129.0/24",
            "100.64.0.0/10",
            "fd20:ce::/32",
            "fd00::/16",
            "64:ff9b::a9fe:a9fe/128",
            "64:ff9b::/96",
            "64:ff9b::/64",
            "2002:a9fe:a9fe::/48",
        ] {
            assert!(never_open(&net(text)).is_some(), "{text}");
        }
        for text in [
            "10.0.0.0/8",
            "8.8.8.0/24",
            "2001:db8::/32",
            "fd01::/16",
            "168.63.128.0/24",
            "100.64.0.0/16",
            "64:ff9b::808:0/112",
            "64:ff9c::a9fe:a9fe/128",
        ] {
            assert!(never_open(&net(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn a_translator_leads_from_one_world_to_the_other() {
        assert!(overlap(&net("64:ff9b::a60:0/112"), &net("10.96.0.0/12")));
        assert!(overlap(&net("10.96.0.0/12"), &net("64:ff9b::a60:0/112")));
        assert!(!overlap(&net("64:ff9b::a70:0/112"), &net("10.96.0.0/12")));
        assert!(!overlap(&net("64:ff9b::a60:0/112"), &net("2001:db8::/32")));
    }

    #[test]
    fn the_internet_leaves_out_the_cluster() {
        let [v4, v6] = internet(&[net("203.0.113.0/24"), net("10.96.0.0/12"), net("2001:db8::/64")]);
        assert!(v4.except.contains(&net("203.0.113.0/24")));
        assert!(
            !v4.except.contains(&net("10.96.0.0/12")),
            "inside 10.0.0.0/8 already"
        );
        assert!(v6.except.contains(&net("2001:db8::/64")));
        assert!(v4.except.iter().all(|it| v4.cidr.contains(it)));
    }
}
