//! Sealed values.

use roadstead_proto::blobs::v1::{Lease, Locator};
use roadstead_rpc::{SealError, SealKey, SealKeyError};

fn lease() -> Lease {
    Lease {
        upload_id: "an upload".to_owned(),
        epoch: 3,
        digest_algorithm: "sha256".to_owned(),
    }
}

#[test]
fn a_sealed_message_opens_for_its_purpose_only() {
    let key = SealKey::generate();
    let sealed = key.seal("lease", &lease());
    assert_eq!(key.open::<Lease>("lease", &sealed), Ok(lease()));
    assert_eq!(key.open::<Lease>("receipt", &sealed), Err(SealError));
    assert_eq!(key.open::<Lease>("", &sealed), Err(SealError));
    assert_eq!(
        SealKey::generate().open::<Lease>("lease", &sealed),
        Err(SealError)
    );
}

#[test]
fn no_bit_of_a_sealed_message_can_be_changed() {
    let key = SealKey::generate();
    let sealed = key.seal("lease", &lease());
    for index in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.to_vec();
            changed[index] ^= 1 << bit;
            assert_eq!(
                key.open::<Lease>("lease", &changed),
                Err(SealError),
                "byte {index} bit {bit}"
            );
        }
    }
    for length in 0..sealed.len() {
        assert_eq!(
            key.open::<Lease>("lease", &sealed[..length]),
            Err(SealError),
            "{length} bytes"
        );
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(key.open::<Lease>("lease", &longer), Err(SealError));
}

#[test]
fn a_sealed_message_hides_its_content_and_never_repeats() {
    let key = SealKey::generate();
    let locator = Locator {
        object_key: "blobs/sha256/aa/secret".to_owned(),
        ..Locator::default()
    };
    let (first, second) = (key.seal("locator", &locator), key.seal("locator", &locator));
    assert_ne!(first, second);
    assert!(!first.windows(6).any(|window| window == b"secret"));
}

#[test]
fn an_empty_message_can_be_sealed() {
    let key = SealKey::generate();
    let sealed = key.seal("lease", &Lease::default());
    assert_eq!(key.open::<Lease>("lease", &sealed), Ok(Lease::default()));
}

#[test]
fn a_key_travels_as_base64_and_is_never_printed() {
    let key = SealKey::generate();
    let text = key.to_base64();
    let copy = SealKey::from_base64(&format!("  {text}\n")).unwrap();
    assert_eq!(
        copy.open::<Lease>("lease", &key.seal("lease", &lease())),
        Ok(lease())
    );
    assert!(!format!("{key:?}").contains(&text));
    for malformed in ["", "AAAA", "not base64", &format!("{text}{text}")] {
        assert!(
            matches!(SealKey::from_base64(malformed), Err(SealKeyError::Malformed)),
            "{malformed:?}"
        );
    }
}

#[test]
fn a_key_is_read_from_a_file_and_never_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seal.key");
    assert!(matches!(
        SealKey::from_file(&path),
        Err(SealKeyError::File { .. })
    ));
    assert!(!path.exists());
    let key = SealKey::generate();
    std::fs::write(&path, key.to_base64()).unwrap();
    let read = SealKey::from_file(&path).unwrap();
    assert_eq!(
        read.open::<Lease>("lease", &key.seal("lease", &lease())),
        Ok(lease())
    );
}
