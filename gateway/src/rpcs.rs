//! The RPCs that clients reach through the gateway, and who owns each. Whatever is not in the list is UNIMPLEMENTED.

/// Who owns a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Auth,
    Metadata,
    Events,
}

use Owner::{Auth, Events, Metadata};

/// Everything that passes.
pub(crate) const METHODS: &[(&str, Owner)] = &[
    ("/roadstead.auth.v1.BindingService/CreateBinding", Auth),
    ("/roadstead.auth.v1.BindingService/DeleteBinding", Auth),
    ("/roadstead.auth.v1.BindingService/GetBinding", Auth),
    ("/roadstead.auth.v1.BindingService/ListBindings", Auth),
    ("/roadstead.auth.v1.GroupService/CreateGroup", Auth),
    ("/roadstead.auth.v1.GroupService/DeleteGroup", Auth),
    ("/roadstead.auth.v1.GroupService/GetGroup", Auth),
    ("/roadstead.auth.v1.GroupService/ListGroups", Auth),
    ("/roadstead.auth.v1.GroupService/ListPushPolicies", Auth),
    ("/roadstead.auth.v1.GroupService/SetPushPolicy", Auth),
    ("/roadstead.auth.v1.GroupService/UpdateGroup", Auth),
    ("/roadstead.auth.v1.IdentityService/CreateIdentity", Auth),
    ("/roadstead.auth.v1.IdentityService/DeleteIdentity", Auth),
    ("/roadstead.auth.v1.IdentityService/GetIdentity", Auth),
    ("/roadstead.auth.v1.IdentityService/ListIdentities", Auth),
    ("/roadstead.auth.v1.IdentityService/UpdateIdentity", Auth),
    ("/roadstead.auth.v1.PolicyService/Explain", Auth),
    ("/roadstead.auth.v1.PolicyService/TestClaims", Auth),
    ("/roadstead.auth.v1.PolicyService/WhoAmI", Auth),
    ("/roadstead.auth.v1.PullTokenService/CreatePullToken", Auth),
    ("/roadstead.auth.v1.PullTokenService/ListPullTokens", Auth),
    ("/roadstead.auth.v1.PullTokenService/RevokePullToken", Auth),
    ("/roadstead.auth.v1.PullTokenService/RotatePullToken", Auth),
    ("/roadstead.auth.v1.RoleService/CreateRole", Auth),
    ("/roadstead.auth.v1.RoleService/DeleteRole", Auth),
    ("/roadstead.auth.v1.RoleService/GetRole", Auth),
    ("/roadstead.auth.v1.RoleService/ListRoles", Auth),
    ("/roadstead.auth.v1.RoleService/UpdateRole", Auth),
    ("/roadstead.events.v1.EventQueryService/ListEvents", Events),
    (
        "/roadstead.metadata.v1.RepositoryAdminService/ListTagHistory",
        Metadata,
    ),
];

/// A method as it stands in the list, with its owner.
pub(crate) fn find(path: &str) -> Option<(&'static str, Owner)> {
    METHODS.iter().copied().find(|(known, _)| *known == path)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Services whose every method is for clients: they verify the caller's access token themselves.
    const FOR_CLIENTS: [&str; 8] = [
        "roadstead.auth.v1.BindingService",
        "roadstead.auth.v1.GroupService",
        "roadstead.auth.v1.IdentityService",
        "roadstead.auth.v1.PolicyService",
        "roadstead.auth.v1.PullTokenService",
        "roadstead.auth.v1.RoleService",
        "roadstead.events.v1.EventQueryService",
        "roadstead.metadata.v1.RepositoryAdminService",
    ];

    #[test]
    fn the_list_has_every_method_of_the_services_for_clients_and_no_other() {
        let descriptors = FileDescriptorSet::decode(roadstead_proto::DESCRIPTORS).unwrap();
        let mut methods: Vec<String> = descriptors
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .map(|(package, service)| (format!("{package}.{}", service.name()), service))
            .filter(|(name, _)| FOR_CLIENTS.contains(&name.as_str()))
            .flat_map(|(name, service)| {
                service
                    .method
                    .iter()
                    .map(move |method| format!("/{name}/{}", method.name()))
            })
            .collect();
        methods.sort();
        let listed: Vec<&str> = METHODS.iter().map(|(path, _)| *path).collect();
        assert_eq!(listed, methods);
    }

    #[test]
    fn a_method_is_owned_by_the_service_of_its_package() {
        for (path, owner) in METHODS {
            let package = match owner {
                Auth => "/roadstead.auth.v1.",
                Metadata => "/roadstead.metadata.v1.",
                Events => "/roadstead.events.v1.",
            };
            assert!(path.starts_with(package), "{path}");
        }
    }
}
