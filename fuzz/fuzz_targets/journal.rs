//! Any journal is refused, or folded into a run that every renderer takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_reports::{Event, Format, Run};

fuzz_target!(|text: &str| {
    let events: Vec<Event> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if let Ok(run) = Run::fold(&events) {
        for format in Format::ALL {
            std::hint::black_box(format.render(&run).ok());
        }
    }
});
