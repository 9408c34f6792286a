//! The machine that a run is measured on, and what this process took of it.

use serde::Serialize;

/// A machine card: without it a figure says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Machine {
    /// Processors.
    pub processors: usize,
    /// Their model.
    pub model: String,
    /// Memory in MiB.
    pub memory: u64,
    /// The kernel.
    pub kernel: String,
    /// Processes that wanted a processor, on average over the last minute, before the run.
    pub load: String,
}

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// The same as a part of all processors' time.
    pub cpu_share: f64,
    /// The most resident memory, in MiB.
    pub memory: u64,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim())
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn read() -> Self {
        let cpu = read("/proc/cpuinfo");
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: field(&cpu, "model name").unwrap_or_default().to_owned(),
            memory: kib(&read("/proc/meminfo"), "MemTotal").unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// Memory that can be had now without swapping, in MiB.
    #[must_use]
    pub fn left() -> u64 {
        kib(&read("/proc/meminfo"), "MemAvailable").unwrap_or(u64::MAX) / 1024
    }
}

/// Processor time of this process in seconds.
pub(crate) fn cpu() -> f64 {
    let stat = read("/proc/self/stat");
    // The name in parentheses may have anything in it.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime, in hundredths: USER_HZ is 100 on every architecture that Linux has left.
    (ticks(11) + ticks(12)) / 100.0
}

impl Spent {
    /// What this process took since it had taken `before`, in so many seconds.
    #[must_use]
    pub(crate) fn since(before: f64, seconds: f64) -> Self {
        let cpu_seconds = cpu() - before;
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let memory = kib(&read("/proc/self/status"), "VmHWM").unwrap_or(0) / 1024;
        Self { cpu_seconds, cpu_share: cpu_seconds / (seconds.max(1e-3) * processors), memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let machine = Machine::read();
        assert!(machine.processors > 0 && machine.memory > 0 && !machine.kernel.is_empty(), "{machine:?}");
        assert!(Machine::left() <= machine.memory);
        assert!(Spent::since(0.0, 1.0).memory > 0);
    }
}
