//! The configuration files that are shipped.

use std::path::PathBuf;

use roadstead_runtime::{ConfigError, ConfigSources, ConfigTree, PublicAddress, RuntimeConfig};

fn shipped(service: &str) -> ConfigTree {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config");
    let file = Some(root.join(format!("{service}.toml")));
    ConfigTree::load(ConfigSources {
        file,
        ..ConfigSources::default()
    })
    .expect("well-formed")
}

#[test]
fn every_shipped_file_is_accepted_by_its_service() {
    let check = |service: &str| -> Result<(), ConfigError> {
        let tree = shipped(service);
        let _: RuntimeConfig = tree.section("runtime")?;
        // The sections of all five, because the files are meant to be merged by whoever prefers one.
        roadstead_all_in_one::check(&tree)
    };
    for service in ["gateway", "auth", "metadata", "blobs", "events"] {
        check(service).unwrap_or_else(|error| panic!("{service}: {error}"));
    }
}

#[test]
fn the_gateway_and_auth_agree_on_the_public_address() {
    let address = |service| PublicAddress::from_tree(&shipped(service)).expect("an address");
    assert_eq!(address("gateway"), address("auth"));
}

#[test]
fn the_services_find_each_other() {
    let listens = |service: &str| {
        let address: Option<String> = shipped(service).reader().key("rpc.listen");
        address.unwrap_or_else(|| panic!("{service} listens"))
    };
    for (caller, called) in [
        ("gateway", &["auth", "metadata", "blobs", "events"][..]),
        ("metadata", &["auth", "blobs"]),
        ("events", &["auth", "metadata"]),
    ] {
        for service in called {
            let uri: Option<String> = shipped(caller).reader().key(&format!("rpc.endpoints.{service}"));
            assert_eq!(
                uri,
                Some(format!("https://{}", listens(service))),
                "{caller} calls {service}"
            );
        }
    }
}
