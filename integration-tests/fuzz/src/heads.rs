//! Whose request it is, and by which address.

use std::{net::IpAddr, sync::LazyLock};

use http::{HeaderName, HeaderValue, Request};
use regex::Regex;
use roadstead_gateway::{
    address::{Addresses, is_loopback_name},
    call::Call,
};
use roadstead_runtime::{ConfigSources, ConfigTree, PublicAddress};

use crate::{first_line_and_rest, whole};

static LOOPBACK: LazyLock<Regex> =
    LazyLock::new(|| whole(r"(localhost|127\.0\.0\.1|\[::1\])(:(?<port>[1-9][0-9]*))?"));

pub(crate) fn loopback_name(text: &str) {
    for port in [80_u16, 5000] {
        let expected = LOOPBACK
            .captures(text)
            .is_some_and(|parts| match parts.name("port") {
                Some(digits) => digits.as_str() == port.to_string(),
                None => port == 80,
            });
        assert_eq!(is_loopback_name(text, port), expected, "{text:?} {port}");
    }
}

static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| {
    let tree = ConfigTree::load(ConfigSources::default()).expect("defaults");
    let public = PublicAddress::from_tree(&tree).expect("the default address");
    let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    Addresses::new(&public, proxies.into())
});
static REQUEST_ID: LazyLock<Regex> = LazyLock::new(|| whole(r"[A-Za-z0-9_.:/+=-]{1,128}"));

/// Takes the address of the peer and the lines of a head.
pub(crate) fn head(text: &str) {
    let (peer, lines) = first_line_and_rest(text);
    let peer: IpAddr = peer.parse().unwrap_or(IpAddr::from([10, 0, 0, 1]));
    let mut request = Request::new(());
    for line in lines.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.trim()),
            HeaderValue::from_str(value.trim()),
        ) {
            request.headers_mut().append(name, value);
        }
    }
    let call = Call::new(request.into_parts().0, (peer, 9).into(), &ADDRESSES);
    check_client(&call, peer);
    assert!(REQUEST_ID.is_match(call.request_id()), "{:?}", call.request_id());
    assert!(call.user_agent().len() <= 256);
    let shown = format!("{call:?}");
    for name in ["authorization", "x-roadstead-dev"] {
        for secret in call
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
        {
            let elsewhere = lines.matches(secret).count() > 1;
            assert!(
                secret.len() < 12 || elsewhere || !shown.contains(secret),
                "{name} is shown: {shown}"
            );
        }
    }
    let origin = ADDRESSES.origin_for(call.host());
    let ours = [
        "http://127.0.0.1:5000",
        "http://localhost:5000",
        "http://[::1]:5000",
    ];
    assert!(ours.contains(&origin.as_ref()), "{origin} is not ours");
}

/// Nobody but a trusted proxy changes whose request it is, and each hop that is believed was named by one.
fn check_client(call: &Call, peer: IpAddr) {
    let trusted = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    };
    assert_eq!(call.client, call.client.to_canonical());
    let mut hops: Vec<String> = call
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|hop| hop.trim().to_owned())
        .collect();
    let mut believed = peer.to_canonical();
    while trusted(believed) {
        let Some(hop) = hops.pop() else { break };
        let bracketed = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let bare = bracketed.unwrap_or(&hop);
        let address = bare.parse::<IpAddr>().ok().or_else(|| {
            hop.parse::<std::net::SocketAddr>()
                .ok()
                .map(|address| address.ip())
        });
        let Some(address) = address else { break };
        believed = address.to_canonical();
    }
    assert_eq!(call.client, believed, "behind {peer}");
}
