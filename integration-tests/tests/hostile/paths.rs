//! Paths that try to leave their place: traversal in every encoding, in every part of a path.

use crate::request::{delete, get, head, patch, put, raw};
use crate::table::{Case, Expected, Table, ask, bodiless, harmless, oci, unreadable};

pub(crate) const TABLE: Table = Table::new(cases);

const NAME: Expected = oci(400, "NAME_INVALID");
const NOWHERE: Expected = oci(404, "UNSUPPORTED");
const NO_TAG: Expected = oci(404, "MANIFEST_UNKNOWN");
const NO_UPLOAD: Expected = oci(404, "BLOB_UPLOAD_UNKNOWN");
const DIGEST: Expected = oci(400, "DIGEST_INVALID");

/// `../../etc/passwd` as it is spelled to get past those who look for it. Decoding it would name a place above, or
/// something that no name has: such a path names nothing at all.
const CLIMBS: [(&str, &str); 18] = [
    ("an encoded slash", "..%2f..%2fetc%2fpasswd"),
    ("an encoded slash in upper case", "..%2F..%2Fetc%2Fpasswd"),
    ("all of it encoded", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    ("an encoded backslash", "..%5c..%5cetc%5cpasswd"),
    ("double encoding", "%252e%252e%252f%252e%252e%252fetc"),
    ("triple encoding", "%25252e%25252e%25252f"),
    ("an overlong slash of two bytes", "..%c0%af..%c0%afetc"),
    ("an overlong dot of two bytes", "%c0%ae%c0%ae%c0%af"),
    ("an overlong slash of three bytes", "..%e0%80%afetc"),
    ("an overlong slash of four bytes", "..%f0%80%80%afetc"),
    ("a NUL behind it", "..%2fetc%2fpasswd%00"),
    ("a NUL alone", "%00"),
    ("a line break", "a%0d%0aSet-Cookie:x"),
    ("a fullwidth slash", "..%ef%bc%8fetc"),
    ("a fraction slash", "..%e2%81%84etc"),
    ("a right-to-left mark", "%e2%80%aegnp"),
    ("a surrogate half", "%ed%a0%80"),
    ("a byte that is no UTF-8", "%ff"),
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, climb) in CLIMBS {
        let places = [
            ("tag", get(format!("/v2/hostile/one/manifests/{climb}"))),
            (
                "pushed tag",
                put(format!("/v2/hostile/one/manifests/{climb}")).body("{}"),
            ),
            ("digest", get(format!("/v2/hostile/one/blobs/sha256:{climb}"))),
            ("name", get(format!("/v2/hostile/{climb}/tags/list"))),
            (
                "upload id",
                patch(format!("/v2/hostile/one/blobs/uploads/{climb}")).body("x"),
            ),
        ];
        for (place, request) in places {
            cases.push(ask(format!("{what} in a {place}"), request, NOWHERE));
        }
    }
    cases.extend([plain(), fixed(), uploads(), forms()].into_iter().flatten());
    cases
}

/// Traversal that no decoding hides.
#[rustfmt::skip] // A row is a line.
fn plain() -> Vec<Case> {
    let other = "/v2/hostile/one/blobs/uploads/../../manifests/latest";
    vec![
        ask("dot segments in a name", get("/v2/hostile/one/../../manifests/latest"), NAME),
        ask("encoded dots with real slashes in a name", get("/v2/hostile/%2e%2e/one/tags/list"), NAME),
        ask("encoded dots for a tag", get("/v2/hostile/one/manifests/%2e%2e"), NO_TAG),
        ask("dot segments from uploads to manifests", get(other), NAME),
        ask("backslashes in a name", get(r"/v2/hostile\one/tags/list"), NAME),
        ask("backslashes for a tag", get(r"/v2/hostile/one/manifests/..\..\etc"), NO_TAG),
        ask("four dots and two slashes in a name", get("/v2/....//....//etc/tags/list"), NAME),
        ask("a path parameter in a name", get("/v2/hostile/..;/one/tags/list"), NAME),
        ask("a slash at the end of a tag", get("/v2/hostile/one/manifests/latest/"), NOWHERE),
        ask("two slashes before a tag", get("/v2/hostile/one/manifests//latest"), NOWHERE),
        ask("two slashes at the start", get("//v2/hostile/one/manifests/latest"), NOWHERE),
        ask("two slashes after v2", get("/v2//hostile/one/manifests/latest"), NAME),
        ask("dot segments before v2", get("/x/../v2/hostile/one/manifests/latest"), NOWHERE),
        ask("dot segments out of v2", get("/v2/../token"), NOWHERE),
        ask("an encoded v2", get("/%762/"), NOWHERE),
        ask("a file of the machine", get("/etc/passwd"), NOWHERE),
        ask("a file of the machine under v2", get("/v2/../../../../etc/passwd"), NOWHERE),
        ask("the repository's git directory", get("/.git/config"), NOWHERE),
        ask("the admin port's paths on this port", get("/metrics"), NOWHERE),
        ask("readiness on this port", get("/readyz"), NOWHERE),
        ask("a percent sign and nothing else", get("/v2/hostile/one/manifests/%"), NOWHERE),
        ask("half an encoded byte", get("/v2/hostile/one/manifests/%2"), NOWHERE),
        ask("an encoded byte that is no number", get("/v2/hostile/one/manifests/%zz"), NOWHERE),
        ask("an encoded letter of another alphabet", get("/v2/hostile/one/manifests/%u002e%u002e"), NOWHERE),
        ask("a space in a tag", get("/v2/hostile/one/manifests/a%20b"), NOWHERE),
        ask("a delete character in a tag", get("/v2/hostile/one/manifests/a%7fb"), NOWHERE),
        ask("an encoded question mark for a tag", get("/v2/hostile/one/manifests/latest%3fx"), NO_TAG),
        ask("an encoded colon in a digest of nothing", get("/v2/hostile/one/blobs/{zero}%3a"), DIGEST),
        ask("letters of another alphabet, unencoded", get("/v2/höstile/one/tags/list"), NAME),
        ask("bytes that are no UTF-8, unencoded", get(b"/v2/\xff\xfe/tags/list"), unreadable(400)),
        ask("16 KiB of path", get(format!("/v2/{}/tags/list", "a".repeat(16 * 1024))), oci(414, "SIZE_INVALID")),
        ask("70 KiB of path", get(format!("/v2/{}/tags/list", "a".repeat(70_000))), unreadable(414)),
        ask("16 KiB of slashes", get("/".repeat(16_000)), NOWHERE),
        ask("8 KiB of dot segments", get(format!("/v2/{}tags/list", "../".repeat(2_700))), NAME),
    ]
}

/// The parts of a path that are words of the specification.
fn fixed() -> Vec<Case> {
    vec![
        ask(
            "upper case words",
            get("/v2/hostile/one/Manifests/latest"),
            NOWHERE,
        ),
        ask(
            "an upper case v2",
            get("/V2/hostile/one/manifests/latest"),
            NOWHERE,
        ),
        ask("v1", get("/v1/search?q=hostile"), NOWHERE),
        ask(
            "an unknown extension",
            get("/v2/hostile/one/_other/list"),
            NOWHERE,
        ),
        ask(
            "the extension of discovery",
            get("/v2/_oci/ext/discover"),
            NOWHERE,
        ),
        ask("a catalog with more behind it", get("/v2/_catalog/x"), NOWHERE),
        ask(
            "a tag list with more behind it",
            get("/v2/hostile/one/tags/list/x"),
            NOWHERE,
        ),
        ask("tags without a list", get("/v2/hostile/one/tags"), NOWHERE),
        ask("no repository", get("/v2/manifests/latest"), NOWHERE),
        ask("no repository for an upload", put("/v2/blobs/uploads/x"), NOWHERE),
    ]
}

/// An upload has one spelling.
fn uploads() -> Vec<Case> {
    let path = |id: &str| format!("/v2/hostile/one/blobs/uploads/{id}");
    let id = "1d2c3b4a-5e6f-4a7b-8c9d-0e1f2a3b4c5d";
    vec![
        ask("an upload that never was", get(path(id)), NO_UPLOAD),
        ask(
            "an upload that never was, asked with HEAD",
            head(path(id)),
            bodiless(405),
        ),
        ask(
            "an upload that never was, written to",
            patch(path(id)).body("x"),
            NO_UPLOAD,
        ),
        ask(
            "an upload that never was, finished",
            put(path(id) + "?digest={zero}"),
            NO_UPLOAD,
        ),
        ask("an upload that never was, cancelled", delete(path(id)), NO_UPLOAD),
        ask(
            "an upload id in upper case",
            get(path(&id.to_uppercase())),
            NO_UPLOAD,
        ),
        ask(
            "an upload id without dashes",
            get(path(&id.replace('-', ""))),
            NO_UPLOAD,
        ),
        ask(
            "an upload id in braces",
            get(path(&format!("%7b{id}%7d"))),
            NO_UPLOAD,
        ),
        ask(
            "an upload id as a URN",
            get(path(&format!("urn:uuid:{id}"))),
            NO_UPLOAD,
        ),
        ask(
            "an upload id of nothing but zeros",
            get(path(&"0".repeat(36))),
            NO_UPLOAD,
        ),
        ask("an upload id that is a number", get(path("1")), NO_UPLOAD),
        ask("an upload id of dots", get(path("..")), NO_UPLOAD),
        ask("an upload id that is SQL", get(path("'or'1'='1")), NO_UPLOAD),
        ask("an upload id of 8 KiB", get(path(&"a".repeat(8_000))), NO_UPLOAD),
    ]
}

/// Targets that are no paths.
#[rustfmt::skip] // A row is a line.
fn forms() -> Vec<Case> {
    let line = |target: &str| {
        raw(format!(
            "GET {target} HTTP/1.1\r\nHost: {{host}}\r\nAuthorization: Bearer {{token}}\r\nConnection: close\r\n\r\n"
        ))
    };
    vec![
        ask("absolute form with another host", line("http://evil.example/v2/"), harmless(200)),
        ask("absolute form of another scheme", line("gopher://evil.example/v2/"), harmless(200)),
        ask("absolute form with a user", line("http://admin:secret@evil.example/v2/"), harmless(200)),
        ask("absolute form of a file", line("file:///etc/passwd"), unreadable(400)),
        ask("authority form", line("evil.example:443"), NOWHERE),
        ask("asterisk form", line("*"), NOWHERE),
        ask("a fragment", line("/v2/#x"), harmless(200)),
        ask("a relative path", line("v2/"), unreadable(400)),
        ask("no target", raw("GET HTTP/1.1\r\nHost: {host}\r\n\r\n"), unreadable(400)),
        ask("an empty line for a target", raw("GET  HTTP/1.1\r\nHost: {host}\r\n\r\n"), unreadable(400)),
        ask("a space in the target", line("/v2/ x"), unreadable(400)),
        ask("a tab in the target", line("/v2/\tx"), unreadable(400)),
        ask("a NUL in the target", line("/v2/\0"), unreadable(400)),
        ask("an angle bracket in the target", line("/v2/<script>/tags/list"), unreadable(400)),
    ]
}
