//! Names, tags and digests that break their grammar.

use crate::request::{delete, get, head, post, put};
use crate::table::{Case, Expected, Table, ask, bodiless, oci};

pub(crate) const TABLE: Table = Table::new(cases);

const NAME: Expected = oci(400, "NAME_INVALID");
const DIGEST: Expected = oci(400, "DIGEST_INVALID");
const NOWHERE: Expected = oci(404, "UNSUPPORTED");
const NO_TAG: Expected = oci(404, "MANIFEST_UNKNOWN");

fn cases() -> Vec<Case> {
    [names(), tags(), digests()].into_iter().flatten().collect()
}

/// Each in a path that is read and in one that is written.
#[rustfmt::skip] // A row is a line.
fn names() -> Vec<Case> {
    let long = "a/".repeat(127) + "ab";
    let longest_component = "a".repeat(256);
    let rows: [(&str, &str, Expected); 32] = [
        ("upper case", "Hostile", NAME),
        ("upper case at the end", "hostilE/one", NAME),
        ("a leading dot", ".hostile", NAME),
        ("a trailing dot", "hostile.", NAME),
        ("a leading dash", "-hostile", NAME),
        ("a trailing dash", "hostile-", NAME),
        ("a leading underscore", "_hostile", NAME),
        ("a trailing underscore", "hostile_", NAME),
        ("three underscores", "a___b", NAME),
        ("two dots", "a..b", NAME),
        ("a dot and a dash", "a.-b", NAME),
        ("an underscore and a dot", "a_.b", NAME),
        ("an empty component", "a//b", NAME),
        ("a leading slash", "/a", NAME),
        ("a dot for a component", "a/./b", NAME),
        ("two dots for a component", "a/../b", NAME),
        ("two dots first", "../a", NAME),
        ("a component that starts with a dash", "a/-b", NAME),
        ("a component that ends with a dot", "a./b", NAME),
        ("256 characters", &long, NAME),
        ("one component of 256 characters", &longest_component, NAME),
        ("a colon", "a:b", NAME),
        ("an at sign", "a@b", NAME),
        ("a plus", "a+b", NAME),
        ("a tilde", "~a", NAME),
        ("a star", "*", NAME),
        ("a dollar and braces", "${x}", NAME),
        ("a comma", "a,b", NAME),
        ("a semicolon", "a;b", NAME),
        ("an apostrophe", "a'or'1'='1", NAME),
        ("a reserved word", "_oci", NAME),
        ("an extension of the catalog", "_catalog", NAME),
    ];
    let mut cases = Vec::new();
    for (what, name, expected) in rows {
        cases.push(ask(format!("name with {what}, read"), get(format!("/v2/{name}/tags/list")), expected));
        cases.push(ask(format!("name with {what}, pushed to"), post(format!("/v2/{name}/blobs/uploads/")), expected));
    }
    cases
}

fn tags() -> Vec<Case> {
    let put_tag = |tag: &str| put(format!("/v2/hostile/one/manifests/{tag}")).body("{}");
    let get_tag = |tag: &str| get(format!("/v2/hostile/one/manifests/{tag}"));
    let long = "t".repeat(129);
    vec![
        ask("tag with a leading dot, pushed", put_tag(".latest"), NAME),
        ask("tag with a leading dash, pushed", put_tag("-latest"), NAME),
        ask("tag of 129 characters, pushed", put_tag(&long), NAME),
        ask("tag of 129 characters, pulled", get_tag(&long), NO_TAG),
        ask("tag with a plus, pushed", put_tag("a+b"), NAME),
        ask("tag with a plus, pulled", get_tag("a+b"), NO_TAG),
        ask("tag with an at sign, pushed", put_tag("a@b"), NAME),
        ask("tag of one dot, pushed", put_tag("."), NAME),
        ask("tag of two dots, pushed", put_tag(".."), NAME),
        ask("tag of two dots, pulled", get_tag(".."), NO_TAG),
        ask(
            "tag of two dots, asked for",
            head("/v2/hostile/one/manifests/.."),
            bodiless(404),
        ),
        ask(
            "tag of two dots, deleted",
            delete("/v2/hostile/one/manifests/.."),
            NAME,
        ),
        ask(
            "no tag, pushed",
            put("/v2/hostile/one/manifests/").body("{}"),
            NOWHERE,
        ),
        ask("a list of two tags in one, pushed", put_tag("a,b"), NAME),
        ask("a shell's words for a tag, pushed", put_tag("$(reboot)"), NAME),
        ask(
            "a template for a tag, pushed",
            put_tag("{{7*7}}"),
            oci(400, "NAME_INVALID"),
        ),
    ]
}

#[rustfmt::skip] // A row is a line.
fn digests() -> Vec<Case> {
    let hex = "0123456789abcdef".repeat(4);
    let upper = hex.to_uppercase();
    let rows: Vec<(&str, String)> = vec![
        ("nothing after the colon", "sha256:".into()),
        ("63 digits", format!("sha256:{}", &hex[1..])),
        ("65 digits", format!("sha256:{hex}0")),
        ("upper case digits", format!("sha256:{upper}")),
        ("an upper case algorithm", format!("SHA256:{hex}")),
        ("a letter that is no digit", format!("sha256:g{}", &hex[1..])),
        ("an algorithm that is broken", format!("md5:{}", &hex[..32])),
        ("an algorithm that is registered nowhere", format!("sha1024:{hex}")),
        ("sha512 with the length of sha256", format!("sha512:{hex}")),
        ("sha256 with the length of sha512", format!("sha256:{hex}{hex}")),
        ("no algorithm", format!(":{hex}")),
        ("two algorithms", format!("sha256:sha256:{hex}")),
        ("an algorithm with a plus", format!("sha256+b64u:{hex}")),
        ("dots for digits", format!("sha256:{}", "..".repeat(32))),
        ("a name in front", format!("hostile@sha256:{hex}")),
        ("16 KiB of digits", format!("sha256:{}", "0".repeat(16_000))),
    ];
    let mut cases = Vec::new();
    for (what, digest) in rows {
        cases.push(ask(format!("blob by a digest with {what}"), get(format!("/v2/hostile/one/blobs/{digest}")), DIGEST));
        let manifest = format!("/v2/hostile/one/manifests/{digest}");
        cases.push(ask(format!("manifest pushed by a digest with {what}"), put(manifest).body("{}"), DIGEST));
        let referrers = format!("/v2/hostile/one/referrers/{digest}");
        cases.push(ask(format!("referrers of a digest with {what}"), get(referrers), DIGEST));
    }
    cases.push(ask("blob by a tag", get("/v2/hostile/one/blobs/latest"), DIGEST));
    cases.push(ask("referrers of a tag", get("/v2/hostile/one/referrers/latest"), DIGEST));
    cases
}
