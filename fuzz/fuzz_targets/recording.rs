//! Anything that claims to be a recording is refused or judged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::host::read_recording;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((_, transcript)) = read_recording(bytes) {
        seaworthy_fuzz::transcript(&transcript);
    }
});
