//! What the targets share: the reference node with one answer replaced, and every check's judgement of it.

use std::path::Path;
use std::sync::OnceLock;

use seaworthy_checks::construct::lay;
use seaworthy_checks::host::{Query, Reply, Transcript, redact};
use seaworthy_checks::node::{Facts, View, checks};
use seaworthy_checks::{Check, Profile};

fn reference() -> &'static (Transcript, Vec<Check>) {
    static NODE: OnceLock<(Transcript, Vec<Check>)> = OnceLock::new();
    NODE.get_or_init(|| {
        let mut transcript = Transcript::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../checks/nodes/reference");
        lay(&folder, &mut transcript).expect("the reference node");
        (transcript, checks())
    })
}

/// Puts `bytes` in the place of these files of the reference node, as a host would say them: redacted. Then all is
/// judged.
pub fn files(paths: &[&str], bytes: &[u8]) {
    let (transcript, checks) = reference();
    let mut transcript = transcript.clone();
    for path in paths {
        let query = Query::Read { path: (*path).to_owned() };
        let answer = redact(&query, Ok(Reply::Bytes { bytes: bytes.to_vec(), truncated: false }));
        transcript.insert(query, answer);
    }
    judge(&transcript, checks);
}

/// Judges a transcript from elsewhere.
pub fn transcript(transcript: &Transcript) {
    judge(transcript, &reference().1);
}

fn judge(transcript: &Transcript, checks: &[Check]) {
    let facts = Facts::read(transcript);
    let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
    let view = View::alone(&facts, &profile);
    for check in checks {
        std::hint::black_box(check.judge(&view));
    }
}
