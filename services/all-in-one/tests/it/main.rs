//! The whole registry in this process.

mod deploy;
mod lifecycle;

use std::path::Path;

use roadstead_runtime::{ConfigSources, ConfigTree};

/// A registry with its data in `dir`, on free ports, that stops without delay.
fn tree(dir: &Path) -> ConfigTree {
    ConfigTree::load(ConfigSources::default())
        .expect("empty")
        .with("runtime.data_dir", dir.to_str().expect("UTF-8"))
        .with("runtime.admin_listen", "127.0.0.1:0")
        .with("gateway.listen", "127.0.0.1:0")
}
