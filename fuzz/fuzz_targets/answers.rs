//! Any answers to any queries are judged: what a recording holds inside its compression.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::host::{Answer, Query, Transcript};

fuzz_target!(|text: &str| {
    let mut transcript = Transcript::default();
    for line in text.lines() {
        if let Ok((query, answer)) = serde_json::from_str::<(Query, Answer)>(line) {
            transcript.insert(query, answer);
        }
    }
    seaworthy_fuzz::transcript(&transcript);
});
