//! Which network addresses an issuer may have.
//!
//! A discovery document names where the keys are, so whoever controls an issuer, or its name, chooses what auth
//! connects to. Addresses that only mean something inside a network are refused, also when DNS gives them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressPolicy {
    /// Those of the public internet.
    PublicOnly,
    /// Also private and loopback ones. Link-local addresses stay refused: clouds serve credentials there.
    AllowPrivate,
}

impl AddressPolicy {
    pub(crate) fn permits(self, address: IpAddr) -> bool {
        let reach = match address {
            IpAddr::V4(address) => reach_v4(address),
            IpAddr::V6(address) => reach_v6(address),
        };
        match reach {
            Reach::Public => true,
            Reach::Private => self == Self::AllowPrivate,
            Reach::Never => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Never,
}

/// A network, as its first address and the length of its prefix.
type Network<A> = (A, u32);

const PRIVATE_V4: &[Network<Ipv4Addr>] = &[
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Carrier-grade NAT (RFC 6598), which overlay networks use too.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Benchmarking (RFC 2544).
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];

const NEVER_V4: &[Network<Ipv4Addr>] = &[
    // "This network".
    (Ipv4Addr::UNSPECIFIED, 8),
    // Link-local.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments, and 6to4 relays.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Documentation.
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast and reserved.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const PRIVATE_V6: &[Network<Ipv6Addr>] = &[
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// All that is routed on the internet.
const PUBLIC_V6: &[Network<Ipv6Addr>] = &[(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)];

const NEVER_V6: &[Network<Ipv6Addr>] = &[
    // Protocol assignments, among them Teredo and ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn reach_v4(address: Ipv4Addr) -> Reach {
    let within = |networks: &[Network<Ipv4Addr>]| {
        networks
            .iter()
            .any(|(network, length)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *length)
    };
    if within(NEVER_V4) {
        Reach::Never
    } else if within(PRIVATE_V4) {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let within = |networks: &[Network<Ipv6Addr>]| {
        networks
            .iter()
            .any(|(network, length)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *length)
    };
    if let Some(embedded) = embedded_v4(address) {
        reach_v4(embedded)
    } else if within(PRIVATE_V6) {
        Reach::Private
    } else if within(PUBLIC_V6) && !within(NEVER_V6) {
        Reach::Public
    } else {
        Reach::Never
    }
}

/// Returns the IPv4 address that traffic to an IPv6 one ends at, through mapping, translation or a tunnel.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    // Mapped; translated (RFC 6052); 6to4.
    let ([0, 0, 0, 0, 0, 0xffff, high, low]
    | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
    | [0x2002, high, low, ..]) = address.segments()
    else {
        return None;
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::AddressPolicy::{AllowPrivate, PublicOnly};

    #[rstest]
    #[case::public("93.184.216.34", true, true)]
    #[case::public_v6("2606:2800:220:1::1", true, true)]
    #[case::loopback("127.0.0.1", false, true)]
    #[case::loopback_elsewhere("127.8.8.8", false, true)]
    #[case::ten("10.0.0.1", false, true)]
    #[case::private_b_start("172.16.0.1", false, true)]
    #[case::private_b_end("172.31.255.255", false, true)]
    #[case::after_private_b("172.32.0.1", true, true)]
    #[case::private_c("192.168.1.1", false, true)]
    #[case::carrier("100.64.0.1", false, true)]
    #[case::after_carrier("100.128.0.1", true, true)]
    #[case::cloud_metadata("169.254.169.254", false, false)]
    #[case::unspecified("0.0.0.0", false, false)]
    #[case::multicast("224.0.0.1", false, false)]
    #[case::broadcast("255.255.255.255", false, false)]
    #[case::loopback_v6("::1", false, true)]
    #[case::unspecified_v6("::", false, false)]
    #[case::unique_local("fd00::1", false, true)]
    #[case::link_local("fe80::1", false, false)]
    #[case::multicast_v6("ff02::1", false, false)]
    #[case::mapped_loopback("::ffff:127.0.0.1", false, true)]
    #[case::mapped_cloud_metadata("::ffff:169.254.169.254", false, false)]
    #[case::mapped_public("::ffff:93.184.216.34", true, true)]
    #[case::translated_private("64:ff9b::10.0.0.1", false, true)]
    #[case::tunnelled_private("2002:a00:1::", false, true)]
    #[case::teredo("2001:0:1::1", false, false)]
    #[case::compatible_loopback("::127.0.0.1", false, false)]
    fn addresses_are_sorted(#[case] address: &str, #[case] public_only: bool, #[case] allow_private: bool) {
        let address = address.parse().unwrap();
        assert_eq!(PublicOnly.permits(address), public_only);
        assert_eq!(AllowPrivate.permits(address), allow_private);
    }
}
