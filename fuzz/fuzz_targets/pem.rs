//! Any file is read as PEM or DER without a panic, and twice the same; what it says of itself is within it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::pki::x509::pem::Document;

fuzz_target!(|bytes: &[u8]| {
    let document = Document::read(bytes);
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(document.blocks.iter().all(|block| (1..=lines).contains(&block.line)));
    assert!(document.remarks.iter().all(|remark| (1..=lines).contains(&remark.line)));
    assert!(document.remarks.is_sorted_by_key(|remark| remark.line));
    assert_eq!(document, Document::read(bytes));
});
