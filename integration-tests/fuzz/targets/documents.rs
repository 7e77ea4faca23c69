//! libFuzzer's entry to the target of this name in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| roadstead_fuzz::DOCUMENTS.check(input));
