//! Runs tests; what failed, what was slow and the total come last, where a log that is cut off still has them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// So many of the slowest test binaries are named.
const SLOWEST: usize = 12;
/// So many lines of what failed are repeated.
const REPEATED: usize = 120;

/// Runs `cargo test` over the workspace.
pub(crate) fn run(more: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    // One pipe for both outputs keeps them in order: cargo says on one which binary's results the other holds.
    let command = "exec cargo test --workspace --locked --no-fail-fast \"$@\" 2>&1";
    let started = Command::new("sh")
        .args(["-c", command, "sh"])
        .args(more)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| format!("sh: {error}"))?;
    let mut results = Results::default();
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).map_err(|error| error.to_string())? > 0 {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            println!("{text}");
            results.take(text);
            line.clear();
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    print!("{}", results.summary());
    if status.success() { Ok(()) } else { Err(format!("cargo test: {status}")) }
}

/// What `cargo test` said.
#[derive(Default)]
struct Results {
    binary: String,
    seconds: Vec<(f64, String)>,
    passed: u64,
    failed: u64,
    failing: bool,
    failures: Vec<String>,
}

impl Results {
    fn take(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["Running", "unittests", _, place] => self.binary = format!("unit tests {}", binary(place)),
            ["Running", file, place] => self.binary = format!("{file} {}", binary(place)),
            ["Doc-tests", name] => self.binary = format!("documentation of {name}"),
            _ => {}
        }
        if line == "failures:" {
            self.failing = true;
        }
        if self.failing {
            self.failures.push(line.chars().take(400).collect());
        }
        if line.starts_with("test result: ") {
            self.failing = false;
            let before = |what: &str| {
                let found = words.iter().position(|word| word.trim_end_matches(';') == what);
                found.and_then(|at| words[at - 1].parse::<u64>().ok()).unwrap_or(0)
            };
            self.passed += before("passed");
            self.failed += before("failed");
            let seconds = words.last().and_then(|word| word.trim_end_matches('s').parse().ok()).unwrap_or(0.0);
            self.seconds.push((seconds, self.binary.clone()));
        }
    }

    fn summary(mut self) -> String {
        self.seconds.sort_by(|one, other| other.0.total_cmp(&one.0));
        let slowest = self.seconds.iter().take(SLOWEST).map(|(seconds, name)| format!("{seconds:8.1} s  {name}\n"));
        let mut out: String = slowest.collect();
        for line in &self.failures[self.failures.len().saturating_sub(REPEATED)..] {
            out += &format!("{line}\n");
        }
        out + &format!("{} passed, {} failed\n", self.passed, self.failed)
    }
}

/// The name of a test binary, of its path in brackets with a hash behind.
fn binary(place: &str) -> &str {
    let name = place.trim_matches(['(', ')']).rsplit('/').next().unwrap_or(place);
    name.rsplit_once('-').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::Results;

    #[test]
    fn failures_slow_binaries_and_totals_come_last() {
        let said = "     Running unittests src/lib.rs (target/debug/deps/seaworthy_checks-0a1b)
test result: ok. 157 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 10.16s
     Running tests/cli.rs (target/debug/deps/cli-9f)
test text_wraps ... FAILED

failures:

---- text_wraps stdout ----
at 40 columns

failures:
    text_wraps

test result: FAILED. 13 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 33.30s
   Doc-tests seaworthy_checks
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        let mut results = Results::default();
        said.lines().for_each(|line| results.take(line));
        let summary = results.summary();
        let lines: Vec<_> = summary.lines().collect();
        assert_eq!(lines[0], "    33.3 s  tests/cli.rs cli");
        assert_eq!(lines[1], "    10.2 s  unit tests seaworthy_checks");
        assert_eq!(lines[2], "     1.0 s  documentation of seaworthy_checks");
        assert_eq!(lines[3], "failures:");
        assert!(summary.contains("at 40 columns\n"));
        assert_eq!(lines.last(), Some(&"172 passed, 1 failed"));
    }
}
