//! Any DER is read as a key of any form without a panic, and the public half of what is read is one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::pki::x509::{Key, KeyForm};

fuzz_target!(|bytes: &[u8]| {
    for form in
        [KeyForm::Pkcs1Private, KeyForm::Sec1Private, KeyForm::Pkcs8Private, KeyForm::PkixPublic, KeyForm::Pkcs1Public]
    {
        if let Ok(key) = Key::parse(form, bytes) {
            let public = Key::parse(KeyForm::PkixPublic, &key.public.spki).expect("the public half of a key");
            assert_eq!(public.public, key.public);
        }
    }
});
