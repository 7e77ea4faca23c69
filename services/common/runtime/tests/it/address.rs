//! The public address.

use roadstead_runtime::{ConfigSources, ConfigTree, PublicAddress};
use rstest::rstest;

fn address(listen: Option<&str>, public_url: Option<&str>) -> Result<PublicAddress, String> {
    let mut tree = ConfigTree::load(ConfigSources::default()).expect("empty");
    if let Some(listen) = listen {
        tree = tree.with("gateway.listen", listen);
    }
    if let Some(url) = public_url {
        tree = tree.with("gateway.public_url", url);
    }
    PublicAddress::from_tree(&tree).map_err(|error| error.to_string())
}

#[rstest]
#[case::default(None, None, "http://127.0.0.1:5000", "127.0.0.1:5000")]
#[case::port(Some("127.0.0.1:5017"), None, "http://127.0.0.1:5017", "127.0.0.1:5017")]
#[case::v6(Some("[::1]:5000"), None, "http://[::1]:5000", "[::1]:5000")]
#[case::public(
    Some("0.0.0.0:5000"),
    Some("https://registry.example.com"),
    "https://registry.example.com",
    "registry.example.com"
)]
#[case::slash(
    None,
    Some("https://registry.example.com:8443/"),
    "https://registry.example.com:8443",
    "registry.example.com:8443"
)]
#[case::default_port(
    None,
    Some("https://registry.example.com:443"),
    "https://registry.example.com",
    "registry.example.com"
)]
fn is_explicit_or_loopback(
    #[case] listen: Option<&str>,
    #[case] public_url: Option<&str>,
    #[case] origin: &str,
    #[case] service: &str,
) {
    let address = address(listen, public_url).expect("an address");
    assert_eq!((address.origin(), address.service.as_str()), (origin, service));
    assert_eq!(address.explicit, public_url.is_some());
}

#[rstest]
#[case::not_loopback(Some("0.0.0.0:5000"), None, "gateway.public_url: is required")]
#[case::open_port(Some("127.0.0.1:0"), None, "gateway.public_url: is required")]
#[case::scheme(None, Some("ftp://registry.example.com"), "must begin with http")]
#[case::path(None, Some("https://example.com/registry"), "a host only")]
#[case::password(None, Some("https://a:b@example.com"), "a host only")]
#[case::garbage(None, Some("registry"), "gateway.public_url")]
#[case::listen(Some("localhost"), None, "gateway.listen")]
fn is_refused(#[case] listen: Option<&str>, #[case] public_url: Option<&str>, #[case] why: &str) {
    let error = address(listen, public_url).expect_err("no address");
    assert!(error.contains(why), "{error}");
}
