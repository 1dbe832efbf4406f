//! Which addresses are public: the only ones that the server goes to on behalf of others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of IPv4 that are not the public internet (IANA's registry of special-purpose addresses), and one address inside of
/// it that answers for the machine of the caller.
const NOT_PUBLIC_V4: [([u8; 4], u32); 20] = [
    ([0, 0, 0, 0], 8),          // this network, unspecified
    ([10, 0, 0, 0], 8),         // private
    ([100, 64, 0, 0], 10),      // shared by carriers (CGNAT); metadata of Alibaba Cloud
    ([127, 0, 0, 0], 8),        // loopback
    ([168, 63, 129, 16], 32),   // metadata of Azure, a public address that only its machines reach
    ([169, 254, 0, 0], 16),     // link-local; metadata of most clouds
    ([172, 16, 0, 0], 12),      // private
    ([192, 0, 0, 0], 24),       // protocol assignments; metadata of Oracle Cloud
    ([192, 0, 2, 0], 24),       // documentation
    ([192, 31, 196, 0], 24),    // AS112
    ([192, 52, 193, 0], 24),    // multicast tunnels
    ([192, 88, 99, 0], 24),     // relays of 6to4
    ([192, 168, 0, 0], 16),     // private
    ([192, 175, 48, 0], 24),    // AS112
    ([198, 18, 0, 0], 15),      // benchmarks
    ([198, 51, 100, 0], 24),    // documentation
    ([203, 0, 113, 0], 24),     // documentation
    ([224, 0, 0, 0], 4),        // multicast
    ([240, 0, 0, 0], 4),        // reserved
    ([255, 255, 255, 255], 32), // broadcast
];

/// The part of IPv6 that is given out for the public internet; everything else is special: loopback, mapped and translated
/// IPv4 (`::ffff:0:0/96`, `64:ff9b::/96`), unique local, link-local, multicast.
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Ranges inside of that which are special all the same.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, among them Teredo, which holds IPv4
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4, which holds IPv4
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether this is an address of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    NOT_PUBLIC_V4.iter().all(|&(start, length)| {
        let start = Ipv4Addr::from(start).to_bits();
        (bits ^ start).leading_zeros() < length
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |&(start, length): &(Ipv6Addr, u32)| {
        let differs = address.to_bits() ^ start.to_bits();
        differs.leading_zeros() >= length
    };
    // ISATAP puts an IPv4 address behind `0:5efe` or `200:5efe` in any network.
    let segments = address.segments();
    let isatap = matches!(segments[4], 0 | 0x200) && segments[5] == 0x5efe;
    within(&PUBLIC_V6) && !NOT_PUBLIC_V6.iter().any(within) && !isatap
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_and_last(start: [u8; 4], length: u32) -> [u32; 2] {
        let start = Ipv4Addr::from(start).to_bits();
        [start, start | u32::MAX.checked_shr(length).unwrap_or(0)]
    }

    #[test]
    fn ranges_of_ipv4_end_where_they_should() {
        for (start, length) in NOT_PUBLIC_V4 {
            let [first, last] = first_and_last(start, length);
            assert_eq!(
                first & u32::MAX.checked_shr(length).unwrap_or(0),
                0,
                "{start:?}/{length}"
            );
            for bits in [first, last, first + (last - first) / 2] {
                assert!(
                    !is_public(Ipv4Addr::from_bits(bits).into()),
                    "{}",
                    Ipv4Addr::from_bits(bits)
                );
            }
        }
        for public in [
            "1.0.0.0",
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn every_form_of_ipv6_that_leads_home_is_known() {
        for home in [
            "::",
            "::1",
            "::127.0.0.1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:a9fe:a9fe",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:ffff:ffff::",
            "2620:4f:8000::1",
            "3fff::1",
            "3fff:fff::1",
            "2a00:1450:4001:800:0:5efe:7f00:1",
            "2a00:1450:4001:800:200:5efe:a00:1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(!is_public(home.parse().unwrap()), "{home}");
        }
        for public in [
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700:4700::1111",
            "2620:4f:7fff::1",
            "2a00:1450:4001:800::200e",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
