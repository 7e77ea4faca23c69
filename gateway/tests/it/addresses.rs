//! Nothing that a client sends decides which address answers name.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use roadstead_gateway::address::{Addresses, is_loopback_name};
use roadstead_runtime::{ConfigSources, ConfigTree, PublicAddress};
use rstest::rstest;

fn addresses(settings: &[(&str, &str)], trusted: &[&str]) -> Addresses {
    let tree = settings.iter().fold(
        ConfigTree::load(ConfigSources::default()).unwrap(),
        |tree, (key, value)| tree.with(key, *value),
    );
    let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
    Addresses::new(&PublicAddress::from_tree(&tree).unwrap(), trusted)
}

fn on_loopback() -> Addresses {
    addresses(&[("gateway.listen", "127.0.0.1:5000")], &[])
}

#[rstest]
#[case("localhost:5000", "http://localhost:5000")]
#[case("127.0.0.1:5000", "http://127.0.0.1:5000")]
#[case("[::1]:5000", "http://[::1]:5000")]
#[case("localhost:5001", "http://127.0.0.1:5000")]
#[case("localhost", "http://127.0.0.1:5000")]
#[case("localhost:05000", "http://127.0.0.1:5000")]
#[case("localhost:+5000", "http://127.0.0.1:5000")]
#[case("LOCALHOST:5000", "http://127.0.0.1:5000")]
#[case("localhost.:5000", "http://127.0.0.1:5000")]
#[case("127.0.0.2:5000", "http://127.0.0.1:5000")]
#[case("evil.example:5000", "http://127.0.0.1:5000")]
#[case("evil@localhost:5000", "http://127.0.0.1:5000")]
#[case("[::1]", "http://127.0.0.1:5000")]
#[case("", "http://127.0.0.1:5000")]
fn loopback_names_are_echoed_and_nothing_else(#[case] host: &str, #[case] origin: &str) {
    assert_eq!(on_loopback().origin_for(Some(host)), origin);
}

#[test]
fn the_service_is_the_configured_one_under_every_name() {
    assert_eq!(on_loopback().service(), "127.0.0.1:5000");
    assert_eq!(on_loopback().origin_for(None), "http://127.0.0.1:5000");
}

#[test]
fn an_explicit_address_is_never_left() {
    let addresses = addresses(
        &[
            ("gateway.listen", "127.0.0.1:5000"),
            ("gateway.public_url", "https://registry.example"),
        ],
        &["127.0.0.0/8"],
    );
    for host in [
        "localhost:5000",
        "127.0.0.1:5000",
        "registry.example",
        "evil.example",
    ] {
        assert_eq!(addresses.origin_for(Some(host)), "https://registry.example");
    }
}

#[test]
fn port_80_needs_no_port() {
    assert!(
        is_loopback_name("localhost", 80)
            && is_loopback_name("[::1]", 80)
            && is_loopback_name("[::1]:80", 80)
    );
    assert!(!is_loopback_name("localhost", 5000));
}

proptest! {
    #[test]
    fn no_other_host_changes_the_origin(host in "[ -~]{0,30}") {
        let known = ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"].contains(&host.as_str());
        prop_assume!(!known);
        let addresses = on_loopback();
        prop_assert_eq!(addresses.origin_for(Some(&host)), "http://127.0.0.1:5000");
    }
}

fn forwarded(lines: &[&'static str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| {
            (
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static(line),
            )
        })
        .collect()
}

#[rstest]
// Not from a proxy: what it says is ignored.
#[case("198.51.100.1:9", &["203.0.113.1"], "198.51.100.1")]
#[case("10.0.0.1:9", &[], "10.0.0.1")]
#[case("10.0.0.1:9", &["203.0.113.1"], "203.0.113.1")]
// Only what a proxy added is believed: the client wrote the first entry.
#[case("10.0.0.1:9", &["192.0.2.66, 203.0.113.1"], "203.0.113.1")]
#[case("10.0.0.1:9", &["192.0.2.66", "203.0.113.1, 10.0.0.2"], "203.0.113.1")]
#[case("10.0.0.1:9", &["203.0.113.1:4711"], "203.0.113.1")]
#[case("10.0.0.1:9", &["[2001:db8::1]:4711"], "2001:db8::1")]
#[case("10.0.0.1:9", &["[2001:db8::1]"], "2001:db8::1")]
#[case("10.0.0.1:9", &["203.0.113.1, unknown"], "10.0.0.1")]
#[case("[::ffff:10.0.0.1]:9", &["203.0.113.1"], "203.0.113.1")]
fn the_client_behind_proxies(#[case] peer: &str, #[case] lines: &[&'static str], #[case] client: &str) {
    let addresses = addresses(&[("gateway.listen", "127.0.0.1:5000")], &["10.0.0.0/8"]);
    assert_eq!(
        addresses
            .client(peer.parse().unwrap(), &forwarded(lines))
            .to_string(),
        client
    );
}
