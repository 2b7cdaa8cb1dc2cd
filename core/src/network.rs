//! Address ranges: which networks a tenant may be let out to.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Ranges that no exception ever opens: link-local (the cloud's metadata service lives there), loopback,
/// multicast and IPv4 written as IPv6.
const NEVER: [&str; 8] = [
    "169.254.0.0/16",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "fe80::/10",
    "::1/128",
    "ff00::/8",
    "::ffff:0:0/96",
    "fd00:ec2::/32",
];

/// Ranges that are not the Internet: RFC 1918, 6598, 3927, 1122, 5771, 4193, 4291.
const PRIVATE_V4: [&str; 8] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/3",
];
const PRIVATE_V6: [&str; 6] = [
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

fn nets<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = IpNet> + 'a {
    texts.iter().filter_map(|it| it.parse().ok())
}

/// Whether two ranges share an address.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
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
        ] {
            assert!(never_open(&net(text)).is_some(), "{text}");
        }
        for text in ["10.0.0.0/8", "8.8.8.0/24", "2001:db8::/32", "fd01::/16"] {
            assert!(never_open(&net(text)).is_none(), "{text}");
        }
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
