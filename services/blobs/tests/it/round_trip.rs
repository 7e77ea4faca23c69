use proptest::{prelude::*, sample::Index};
use roadstead_types::{Digest, DigestAlgorithm};

use crate::harness::{Harness, Upload, noise};

#[derive(Debug, Clone)]
struct Case {
    length: usize,
    /// Where one Append ends and the next starts.
    appends: Vec<Index>,
    /// Where a chunk ends within an Append.
    chunks: Vec<Index>,
    restart: bool,
    sha512: bool,
    /// Finish with the algorithm that was not computed on the way.
    other: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop_oneof![0usize..2_000, 100_000usize..1_500_000],
        prop::collection::vec(any::<Index>(), 0..4),
        prop::collection::vec(any::<Index>(), 0..20),
        any::<[bool; 3]>(),
    )
        .prop_map(|(length, appends, chunks, [restart, sha512, other])| Case {
            length,
            appends,
            chunks,
            restart,
            sha512,
            other,
        })
}

fn cut(length: usize, cuts: &[Index]) -> Vec<usize> {
    let mut positions: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
    positions.extend([0, length]);
    positions.sort_unstable();
    positions
}

async fn check(case: &Case) {
    let mut harness = Harness::start().await;
    let content = noise(case.length, 7);
    let (own, other) = if case.sha512 {
        (DigestAlgorithm::Sha512, DigestAlgorithm::Sha256)
    } else {
        (DigestAlgorithm::Sha256, DigestAlgorithm::Sha512)
    };
    let mut upload = Upload {
        algorithm: own,
        ..Upload::new()
    };
    for part in cut(content.len(), &case.appends).windows(2) {
        let part = &content[part[0]..part[1]];
        let mut append = harness.open_append(&upload).await.unwrap();
        for chunk in cut(part.len(), &case.chunks).windows(2) {
            append.send(&part[chunk[0]..chunk[1]]).await.unwrap();
        }
        upload.state = append.end().await.unwrap().pop().unwrap().state;
        if case.restart {
            harness.restart().await;
        }
        upload = upload.acquired();
    }
    let digest = Digest::of(if case.other { other } else { own }, &content);
    let receipt = harness.finish(&upload, &digest).await.unwrap();
    assert_eq!(receipt.digest, digest.to_string());
    assert_eq!(receipt.size, content.len() as u64);
    assert_eq!(receipt.upload_id, upload.id.to_string());
    assert_eq!(receipt.epoch, upload.epoch);
    let read = harness
        .read(harness.locator(&receipt.object_key, &content), 0, 0)
        .await
        .unwrap();
    assert!(read == content, "other bytes came back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut(case in case()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(&case));
    }
}

#[tokio::test]
async fn an_empty_blob_needs_no_append() {
    let harness = Harness::start().await;
    let upload = Upload::new();
    let digest = Digest::sha256(b"");
    let receipt = harness.finish(&upload, &digest).await.unwrap();
    assert_eq!(receipt.size, 0);
    assert_eq!(
        harness
            .read(harness.locator(&receipt.object_key, b""), 0, 0)
            .await
            .unwrap(),
        b""
    );
    assert_eq!(harness.finish(&upload, &digest).await.unwrap(), receipt);
}

#[tokio::test]
async fn checkpoints_come_on_the_way() {
    let config = roadstead_blobs::Config {
        checkpoint_interval: 300_000,
        ..Default::default()
    };
    let harness = Harness::with(config).await;
    let content = noise(3_000_000, 1);
    let mut upload = Upload::new();
    let checkpoints = harness.append(&mut upload, &content).await.unwrap();
    assert!(checkpoints.len() >= 2, "{}", checkpoints.len());
    assert!(checkpoints.is_sorted_by(|a, b| a.offset <= b.offset));
    assert_eq!(checkpoints.last().unwrap().offset, 3_000_000);
}
