//! Any file is read as credentials - PEM, a kubeconfig, a file of Talos - and searched for private keys, as a log or as
//! an entry of a ConfigMap, without a panic, and twice the same; what it says of itself is within it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::host::{credentials, material, private_keys};

fuzz_target!(|bytes: &[u8]| {
    let found = credentials(bytes);
    // To YAML a carriage return alone ends a line, too.
    let lines = u32::try_from(bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count()).unwrap() + 1;
    assert!(found.blocks.iter().all(|block| block.line <= lines));
    if let Some(talos) = &found.talos {
        let blocks = talos.pairs.iter().flat_map(|pair| pair.public.iter().chain(&pair.key)).flatten();
        assert!(
            blocks
                .map(|block| block.line)
                .chain(talos.broken.as_ref().map(|broken| broken.0))
                .all(|line| line <= lines)
        );
    }
    assert_eq!(found, credentials(bytes));
    let keys = private_keys(bytes);
    assert!(keys.iter().all(|key| key.offset < bytes.len() as u64 && key.line <= u64::from(lines) && key.count > 0));
    assert_eq!(keys, private_keys(bytes));
    assert!(material(bytes).iter().all(|(line, _)| *line <= lines as usize));
});
