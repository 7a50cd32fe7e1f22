//! The committed protobuf code is what the proto files give. Never needs `protoc`.
//!
//! After a change of `proto/`, `QUORIX_REGENERATE=1 cargo test -p quorix-wire` writes it anew.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use prost::Message as _;

const PROTOS: [&str; 3] = [
    "quorix/v1/aggregator.proto",
    "quorix/v1/entry.proto",
    "quorix/v1/log.proto",
];

#[test]
fn the_generated_code_is_fresh() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = here.join("src/generated");
    let scratch = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(PROTOS, [here.join("../../proto")]).unwrap();
    fs::write(
        scratch.path().join("quorix.v1.bin"),
        descriptors.encode_to_vec(),
    )
    .unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(scratch.path())
        .compile_fds(descriptors)
        .unwrap();

    let regenerate = std::env::var_os("QUORIX_REGENERATE").is_some();
    for file in ["quorix.v1.rs", "quorix.v1.bin"] {
        let fresh = fs::read(scratch.path().join(file)).unwrap();
        if regenerate {
            fs::write(committed.join(file), &fresh).unwrap();
        }
        let found = fs::read(committed.join(file)).unwrap_or_default();
        assert!(
            found == fresh,
            "src/generated/{file} is not what proto/ gives: run `QUORIX_REGENERATE=1 cargo test -p quorix-wire`"
        );
    }
}
