//! A server's first flight of any bytes is read without a panic, and what is read of a part is not contradicted by the
//! whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::host::hello::Flight;

fuzz_target!(|bytes: &[u8]| {
    let whole = Flight::parse(bytes);
    let part = Flight::parse(&bytes[..bytes.len() / 2]);
    if let (Ok(whole), Ok(part)) = (whole, part) {
        assert!(part.hello.is_none() || part.hello == whole.hello);
    }
});
