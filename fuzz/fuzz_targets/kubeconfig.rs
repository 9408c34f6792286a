//! Anything that is called a kubeconfig is read without a panic, and its token is in nothing that is kept of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::host::kubeconfig::Facts;

fuzz_target!(|text: &str| {
    for context in [None, Some("a")] {
        let mut file =
            |path: &str| if path.len() % 2 == 0 { Ok(path.as_bytes().to_vec()) } else { Err("gone".to_owned()) };
        let _ = Facts::parse(text, context, &mut file);
    }
});
