//! All that the gateway answers to, from the tables that it routes by: for tests that must forget nothing.

use crate::{path::Kind, routes::fixed, rpcs};

/// An HTTP route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path, with `{name}` and the like for its parts.
    pub template: &'static str,
    /// Its methods, as an `Allow` header names them.
    pub methods: &'static str,
}

/// The HTTP routes.
pub fn routes() -> impl Iterator<Item = Route> {
    let registry = Kind::ALL.map(|kind| Route {
        template: kind.template(),
        methods: kind.allow(),
    });
    let fixed = fixed::ROUTES.map(|(template, methods)| Route { template, methods });
    registry.into_iter().chain(fixed)
}

/// The gRPC methods, as `/package.Service/Method`.
pub fn rpc_methods() -> impl Iterator<Item = &'static str> {
    rpcs::METHODS.iter().map(|(path, _)| *path)
}
