use roadstead_proto::metadata::v1::{ListRepositoriesRequest, ListTagsRequest};
use roadstead_rpc::ErrorReason;
use roadstead_types::Principal;

use crate::harness::*;

async fn tags(rig: &Rig, page_size: u32, last: &str) -> (Vec<String>, bool) {
    let request = ListTagsRequest {
        repository: "acme/web".to_owned(),
        access: granted(),
        page_size,
        last: last.to_owned(),
    };
    let page = rig.read().list_tags(request).await.unwrap().into_inner();
    (page.tags, page.has_more)
}

#[tokio::test]
async fn tags_list_in_ascii_order_page_by_page() {
    let rig = Rig::start().await;
    let names = [
        "1.0", "1.10", "1.9", "A", "Z", "_x", "a", "a-b", "a.b", "a_b", "b",
    ];
    for name in names.iter().rev() {
        rig.put("acme/web", name, &index(&[])).await.unwrap();
    }
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(tags(&rig, 0, "").await, (sorted.clone(), false));
    assert_eq!(tags(&rig, 11, "").await, (sorted.clone(), false));
    let mut paged: Vec<String> = Vec::new();
    loop {
        let last = paged.last().cloned().unwrap_or_default();
        let (page, has_more) = tags(&rig, 3, &last).await;
        paged.extend(page);
        if !has_more {
            break;
        }
    }
    assert_eq!(paged, sorted);
    assert_eq!(
        tags(&rig, 0, "a!").await.0,
        sorted[7..],
        "the bound need not exist"
    );
}

#[tokio::test]
async fn a_repository_without_tags_lists_none_and_an_unknown_one_is_unknown() {
    let rig = Rig::start().await;
    rig.push_blob("acme/web", b"x").await;
    assert_eq!(tags(&rig, 0, "").await, (Vec::new(), false));
    let request = ListTagsRequest {
        repository: "acme/never".to_owned(),
        access: granted(),
        page_size: 0,
        last: String::new(),
    };
    refused(
        rig.read().list_tags(request).await,
        ErrorReason::RepositoryUnknown,
    );
}

async fn repositories(rig: &Rig, prefixes: &[&str], page_size: u32) -> Vec<String> {
    let mut request = ListRepositoriesRequest {
        readable_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        page_size,
        ..ListRepositoriesRequest::default()
    };
    let mut names: Vec<String> = Vec::new();
    loop {
        let page = rig
            .read()
            .list_repositories(request.clone())
            .await
            .unwrap()
            .into_inner();
        names.extend(page.repositories);
        if !page.has_more {
            return names;
        }
        request.last = names.last().cloned().unwrap();
    }
}

#[tokio::test]
async fn the_catalog_shows_what_is_public_or_readable() {
    let rig = Rig::start().await;
    let all = [
        "acme",
        "acme-x/a",
        "acme/web",
        "acme/web/x",
        "acme/website",
        "public/a",
        "zebra",
    ];
    for name in all {
        rig.put(name, "v1", &index(&[])).await.unwrap();
    }
    for page_size in [0, 1, 2, 3] {
        assert_eq!(repositories(&rig, &[], page_size).await, ["public/a"]);
        assert_eq!(repositories(&rig, &[""], page_size).await, all);
        assert_eq!(
            repositories(&rig, &["acme/web", "acme"], page_size).await,
            ["acme", "acme/web", "acme/web/x", "acme/website", "public/a"]
        );
        assert_eq!(
            repositories(&rig, &["zebra", "acme/web"], page_size).await,
            ["acme/web", "acme/web/x", "public/a", "zebra"]
        );
    }
    let bad = vec!["Bad".to_owned()];
    for request in [
        ListRepositoriesRequest {
            readable_prefixes: bad.clone(),
            ..ListRepositoriesRequest::default()
        },
        ListRepositoriesRequest {
            readable_repositories: bad.clone(),
            ..ListRepositoriesRequest::default()
        },
    ] {
        refused(
            rig.read().list_repositories(request).await,
            ErrorReason::NameInvalid,
        );
    }
}

#[tokio::test]
async fn the_catalog_shows_single_repositories_and_needs_auth() {
    let rig = Rig::start().await;
    for name in ["acme/web", "acme/web/x", "public/a", "open", "open/x"] {
        rig.put(name, "v1", &index(&[])).await.unwrap();
    }
    rig.authority.grant_read_of(&Principal::anonymous(), "open");
    let request = ListRepositoriesRequest {
        readable_repositories: vec!["acme/web".to_owned()],
        ..ListRepositoriesRequest::default()
    };
    rig.authority.set_down(true);
    refused(
        rig.read().list_repositories(request.clone()).await,
        ErrorReason::Unavailable,
    );
    rig.authority.set_down(false);
    let page = rig.read().list_repositories(request).await.unwrap().into_inner();
    assert_eq!(page.repositories, ["acme/web", "open", "public/a"]);
}
