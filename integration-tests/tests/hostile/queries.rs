//! Query parameters: the same traversal, numbers that are none, and parameters that are there twice.

use anyhow::ensure;
use futures::FutureExt as _;

use crate::request::{get, post, put};
use crate::table::{Case, Expected, Table, act, ask, harmless, oci};

pub(crate) const TABLE: Table = Table::new(cases);

const NAME: Expected = oci(400, "NAME_INVALID");
const DIGEST: Expected = oci(400, "DIGEST_INVALID");
const ARGUMENT: Expected = oci(400, "UNSUPPORTED");
/// A mount that cannot be is answered with an upload, as the specification has it.
const UPLOAD: Expected = harmless(202).keeping_uploads();

const CLIMBS: [(&str, &str); 8] = [
    ("dots and slashes", "../../../../etc/passwd"),
    ("encoded dots and slashes", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    ("double encoding", "%252e%252e%252fetc"),
    ("backslashes", "..%5c..%5cetc"),
    ("an overlong slash", "..%c0%afetc"),
    ("a NUL", "%00"),
    ("a line break", "x%0d%0aX-Injected:%20yes"),
    ("bytes that are no UTF-8", "%ff%fe"),
];

#[rustfmt::skip] // A row is a line.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, climb) in CLIMBS {
        let by_digest = "/v2/hostile/one/manifests/{zero}";
        let places = [
            ("digest", put(format!("{{upload}}?digest={climb}")), DIGEST),
            ("mount", post(format!("/v2/hostile/one/blobs/uploads/?mount={climb}")), DIGEST),
            ("from", post(format!("/v2/hostile/one/blobs/uploads/?mount={{zero}}&from={climb}")), UPLOAD),
            ("digest-algorithm", post(format!("/v2/hostile/one/blobs/uploads/?digest-algorithm={climb}")), DIGEST),
            ("n", get(format!("/v2/hostile/one/tags/list?n={climb}")), ARGUMENT),
            ("last", get(format!("/v2/hostile/one/tags/list?last={climb}")), harmless(200)),
            ("artifactType", get(format!("/v2/hostile/one/referrers/{{zero}}?artifactType={climb}")), harmless(200)),
            ("next", get(format!("/v2/hostile/one/referrers/{{zero}}?next={climb}")), ARGUMENT),
            ("ns", get(format!("/v2/hostile/one/manifests/latest?ns={climb}")), harmless(200)),
            ("tag", put(format!("{by_digest}?tag={climb}")).body("{}"), NAME),
        ];
        for (parameter, request, expected) in places {
            cases.push(ask(format!("{what} in ?{parameter}="), request, expected));
        }
    }
    cases.extend([numbers(), duplicates(), digests(), headers()].into_iter().flatten());
    cases
}

#[rustfmt::skip] // A row is a line.
fn numbers() -> Vec<Case> {
    let tags = |n: &str| get(format!("/v2/hostile/one/tags/list?n={n}"));
    vec![
        ask("n below zero", tags("-1"), ARGUMENT),
        ask("n with a plus", tags("%2b5"), ARGUMENT),
        ask("n with a fraction", tags("1.5"), ARGUMENT),
        ask("n as an exponent", tags("1e3"), ARGUMENT),
        ask("n in hexadecimal", tags("0x10"), ARGUMENT),
        ask("n of another alphabet's digits", tags("%d9%a1"), ARGUMENT),
        ask("n with a space", tags("1%20"), ARGUMENT),
        ask("n too large for any integer", tags(&"9".repeat(400)), harmless(200)),
        ask("n of the largest 64 bits", tags("18446744073709551615"), harmless(200)),
        ask("n below zero in the catalog", get("/v2/_catalog?n=-1"), oci(401, "UNAUTHORIZED")),
        ask("n below zero for referrers", get("/v2/hostile/one/referrers/{zero}?n=-1"), ARGUMENT),
        ask("last of 8 KiB", get(format!("/v2/hostile/one/tags/list?last={}", "x".repeat(8_000))), harmless(200)),
        ask("last that is SQL", get("/v2/hostile/one/tags/list?last='%20OR%201=1;--"), harmless(200)),
        ask("artifactType that is SQL", get("/v2/hostile/one/referrers/{zero}?artifactType='%3bDROP%20TABLE%20tags"), harmless(200)),
        ask("a query of 16 KiB", get(format!("/v2/?{}", "x".repeat(16 * 1024))), oci(414, "SIZE_INVALID")),
        ask("10,000 parameters", get(format!("/v2/hostile/one/tags/list?{}", "a&".repeat(7_000))), harmless(200)),
        ask("nothing but question marks", get("/v2/????????"), harmless(200)),
    ]
}

#[rustfmt::skip] // A row is a line.
fn duplicates() -> Vec<Case> {
    let uploads = "/v2/hostile/one/blobs/uploads/";
    let many: Vec<String> = (0..65).map(|number| format!("&tag=t{number}")).collect();
    vec![
        ask("two digests, the first of them wrong", put("{upload}?digest=x&digest={blob}"), DIGEST),
        ask("two digests, of other content both", put("{upload}?digest={zero}&digest={blob}"), DIGEST),
        ask("no digest", put("{upload}"), DIGEST),
        ask("an empty digest", put("{upload}?digest="), DIGEST),
        ask("a digest under another name", put("{upload}?DIGEST={blob}"), DIGEST),
        ask("two mounts, the first of them wrong", post(format!("{uploads}?mount=x&mount={{blob}}")), DIGEST),
        ask("two page sizes, the first of them wrong", get("/v2/hostile/one/tags/list?n=x&n=1"), ARGUMENT),
        ask("65 tags", put(format!("/v2/hostile/one/manifests/{{manifest}}?x=1{}", many.concat())).body("{}"), oci(414, "SIZE_INVALID")),
        ask("a tag beside a tag", put("/v2/hostile/one/manifests/latest?tag=other").body("{}"), ARGUMENT),
        ask("an empty tag", put("/v2/hostile/one/manifests/{zero}?tag=").body("{}"), NAME),
    ]
}

#[rustfmt::skip] // A row is a line.
fn digests() -> Vec<Case> {
    let whole = |digest: &str| post(format!("/v2/hostile/one/blobs/uploads/?digest={digest}")).body("content");
    let wrong = oci(400, "DIGEST_INVALID");
    vec![
        ask("another content's digest, whole", whole("{zero}"), wrong.keeping_uploads()),
        ask("another content's digest, at the end", put("{upload}?digest={zero}").body("content"), wrong.keeping_uploads()),
        ask("the digest of a blob that is there", put("{upload}?digest={blob}").body("other"), wrong.keeping_uploads()),
        ask("sha512 of nothing for something", whole(&sha512_of_nothing()), wrong.keeping_uploads()),
        ask("md5", whole("md5:d41d8cd98f00b204e9800998ecf8427e"), DIGEST),
        ask("an algorithm of nobody", post("/v2/hostile/one/blobs/uploads/?digest-algorithm=md5"), DIGEST),
    ]
}

fn sha512_of_nothing() -> String {
    roadstead_types::Digest::of(roadstead_types::DigestAlgorithm::Sha512, b"").to_string()
}

/// What is echoed must not become a header, or a part of one.
#[rustfmt::skip] // A row is a line.
fn headers() -> Vec<Case> {
    vec![
        act("ns becomes no header of another name", |arena| {
            async move {
                let answer = arena.ask("ns", &get("/v2/hostile/one/manifests/latest?ns=a%0d%0aX-Injected:%20yes")).await?;
                ensure!(answer.header("x-injected").is_none() && answer.header("oci-namespace").is_none());
                let good = arena.ask("ns", &get("/v2/hostile/one/manifests/latest?ns=docker.io")).await?;
                ensure!(good.header("oci-namespace") == Some("docker.io"), "{}", good.head);
                Ok(())
            }
            .boxed_local()
        }),
        act("a link says only what was said by us", |arena| {
            async move {
                let target = "/v2/hostile/one/tags/list?n=1&last=%3E%3B%20rel=%22next%22%0d%0aX-Injected:%201";
                let answer = arena.ask("link", &get(target)).await?;
                let link = answer.header("link").unwrap_or_default();
                ensure!(!link.contains('\r') && answer.header("x-injected").is_none(), "{}", answer.head);
                Ok(())
            }
            .boxed_local()
        }),
    ]
}
