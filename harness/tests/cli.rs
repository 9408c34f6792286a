//! The program as its users meet it: answers, exit codes, and what it says of bad input.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::Command;

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn seaworthy_in(folder: &Path, arguments: &[&str]) -> Said {
    seaworthy_with(folder, &[], arguments)
}

fn seaworthy_with(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    for name in ["FOCUS", "SKIP", "REPORT_PATH", "GITHUB_STEP_SUMMARY", "SEAWORTHY_ROOTFS", "COLUMNS"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn seaworthy(arguments: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    seaworthy_in(dir.path(), arguments)
}

/// A usage error must name these.
fn refuses(arguments: &[&str], names: &[&str]) {
    let said = seaworthy(arguments);
    assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.err);
    assert_eq!(said.out, "", "{arguments:?}: standard output is for answers");
    for name in names {
        assert!(said.err.contains(name), "{arguments:?}: '{name}' is not in: {}", said.err);
    }
    assert!(!said.err.contains("panicked"), "{}", said.err);
}

#[test]
fn there_are_150_checks_and_list_prints_what_run_runs() {
    let said = seaworthy(&["list", "--suite", "node", "-o", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
    assert!(listed.len() >= 150, "{}", listed.len());
    let dir = tempfile::tempdir().unwrap();
    let focus = ["--focus", "ip_forward", "--focus", "NumCPU"];
    seaworthy_in(dir.path(), &[&["run", "--passive"][..], &focus].concat());
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("results/report.json")).unwrap()).unwrap();
    let ran: Vec<_> =
        report["results"].as_array().unwrap().iter().map(|result| result["trial"].as_str().unwrap()).collect();
    let listed = seaworthy(&[&["list"][..], &focus].concat()).out;
    let listed: Vec<_> = listed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(ran, listed);
    assert_eq!(ran.len(), 2);
}

#[test]
fn bad_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "no recording\n").unwrap();
    let (file, empty) = (file.to_str().unwrap(), tempfile::tempdir().unwrap());
    refuses(&["run", "--suite", "pki", "--endpoint", "127.0.0.1:1=other", "--log-in"], &["--log-in", "--host"]);
    refuses(&["run", "--focus", "("], &["--focus", "unclosed group"]);
    refuses(&["run", "--focus", "ip-foward"], &["matches no trial", "did you mean"]);
    refuses(&["list", "--suite", "nodes"], &["no suite 'nodes'", "node"]);
    let node = ["run", "--suite", "node-conformance", "--focus", "containers.args", "--node", "worker1"];
    refuses(&node, &["--node", "--kubeconfig"]);
    refuses(&["list", "-l", "kernal"], &["kernal", "kernel"]);
    refuses(&["run", "--host", file], &[file, "no recording"]);
    refuses(&["run", "--host", "/nonexistent"], &["/nonexistent"]);
    refuses(&["run", "--host", empty.path().to_str().unwrap()], &["is no Linux root"]);
    refuses(&["run", "--kubernetes-version", "1.99"], &["1.99", "1.23 to 1.37"]);
    refuses(&["run", "-O", "/proc/nowhere"], &["/proc/nowhere", "-O"]);
    refuses(&["explain", "NumCPUs"], &["NumCPUs", "NumCPU"]);
    refuses(&["report", file], &[file, "line 1"]);
    refuses(&["report", "/nonexistent"], &["/nonexistent"]);
    refuses(&["run", "--waivers", "/nonexistent"], &["/nonexistent"]);
    refuses(&["run", "--host", file], &["`seaworthy record`", ".crt", "kubeconfig", "Talos"]);
    for command in [&["run", "--suite", "pki"][..], &["record", "--passive"], &["pki", "expiry"], &["pki", "export"]] {
        for option in ["--pki-dir", "--config-dir", "--kubelet-config"] {
            refuses(&[command, &[option, "/nonexistent"]].concat(), &[option, "/nonexistent"]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("apiserver.crt"), "").unwrap();
    let folder = folder.path().to_str().unwrap();
    refuses(&["pki", "expiry", "--host", folder, "--pki-dir", "/nonexistent"], &["--pki-dir", "/nonexistent", folder]);
    for command in ["expiry", "export"] {
        refuses(&["pki", command, "--host", folder], &[folder, "no PKI"]);
    }
    for listen in ["localhost:9793", "127.0.0.1", "9793"] {
        refuses(&["pki", "export", "--listen", listen], &["--listen", listen, "127.0.0.1:9793"]);
    }
}

#[test]
fn a_proxy_of_the_environment_is_passed_over_and_that_of_a_kubeconfig_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = |cluster: &str| {
        let config = format!(
            "{{kind: Config, current-context: c, clusters: [{{name: c, cluster: {{{cluster}}}}}], users: [{{name: u, \
             user: {{token: t}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        );
        std::fs::write(dir.path().join("kubeconfig"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["run", "--suite", "pki", "--kubeconfig", "kubeconfig", "--focus", "pki.api.tls-pair"]);
        let output = command.env("HTTPS_PROXY", "http://127.0.0.1:1").current_dir(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Nothing listens there: what can be told is that nothing can.
    let (code, said) = run("server: 'https://127.0.0.1:1'");
    assert_eq!(code, Some(3), "{said}");
    let (code, said) = run("server: 'https://127.0.0.1:1', proxy-url: 'http://me:hidden@127.0.0.1:1'");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("proxy-url") && !said.contains("hidden"), "{said}");
}

#[test]
fn a_recording_that_is_cut_off_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let said = seaworthy_in(dir.path(), &["record", "-O", "node.tar.zst", "--passive"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let bytes = std::fs::read(dir.path().join("node.tar.zst")).unwrap();
    std::fs::write(dir.path().join("cut.tar.zst"), &bytes[..bytes.len() / 2]).unwrap();
    let said = seaworthy_in(dir.path(), &["run", "--host", "cut.tar.zst"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("cut.tar.zst is no recording"), "{}", said.err);
    let said = seaworthy_in(dir.path(), &["record", "-O", "node.tar.zst", "--passive"]);
    assert!(said.code == Some(2) && said.err.contains("--force"), "{}", said.err);
}

#[test]
fn a_recording_is_judged_as_its_node_was() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(seaworthy_in(dir.path(), &["record", "--passive"]).code, Some(0));
    let live = seaworthy_in(dir.path(), &["run", "--passive", "-O", "live", "--skip", r"node\.port|time-sync|room"]);
    let recorded =
        ["run", "--passive", "--host", "node.tar.zst", "-O", "recorded", "--skip", r"node\.port|time-sync|room"];
    let recorded = seaworthy_in(dir.path(), &recorded);
    assert_eq!(live.code, recorded.code, "{}{}", live.out, recorded.out);
    let diff = seaworthy_in(dir.path(), &["diff", "live", "recorded"]);
    assert_eq!(diff.code, Some(0), "{}", diff.out);
}

#[test]
fn waivers_accept_expire_and_must_match() {
    let dir = tempfile::tempdir().unwrap();
    let waive = |content: &str| {
        std::fs::write(dir.path().join("w.toml"), content).unwrap();
        seaworthy_in(
            dir.path(),
            &["run", "--passive", "--focus", "node.kubelet.version$|node.program.kubelet$", "--waivers", "w.toml"],
        )
    };
    let said = waive("[[waiver]]\nid = \"node.*\"\nreason = \"no kubelet on this machine\"\n");
    assert!(matches!(said.code, Some(0 | 4)), "{}", said.err);
    for (content, names) in [
        ("\n[[waiver]]\nid = \"node.*\"\nreason = \"x\"\nexpires = \"2020-01-01\"\n", ["w.toml line 2", "expired"]),
        ("[[waiver]]\nid = \"node.nothing\"\nreason = \"x\"\n", ["line 1", "matches no selected trial"]),
        ("[[waiver]]\nid = \"node.*\"\nreason = \" \"\n", ["line 1", "no reason"]),
        ("[[waiver]]\nid = \"node.*\"\nreason = \"x\"\nuntil = 3\n", ["until", "unknown field"]),
        ("[[waiver]]\nid = \"node.*\"\nreason = \"x\"\nexpires = \"soon\"\n", ["soon", "2027-01-31"]),
    ] {
        let said = waive(content);
        assert_eq!(said.code, Some(2), "{content}");
        for name in names {
            assert!(said.err.contains(name), "{content}: {}", said.err);
        }
    }
}

#[test]
fn a_run_that_was_killed_still_yields_every_report() {
    let dir = tempfile::tempdir().unwrap();
    seaworthy_in(dir.path(), &["run", "--passive", "--focus", "node.sysctl"]);
    // What kill -9 leaves: the journal up to some line, the last one cut off, and no report.
    let journal = std::fs::read_to_string(dir.path().join("results/journal.jsonl")).unwrap();
    let killed = dir.path().join("killed");
    std::fs::create_dir(&killed).unwrap();
    let begun = journal.find('\n').unwrap();
    std::fs::write(killed.join("journal.jsonl"), &journal[..usize::midpoint(begun, journal.len())]).unwrap();
    let said = seaworthy_in(dir.path(), &["report", "killed", "-O", "killed"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for (name, mark) in [
        ("junit_01.xml", r#"name="complete" value="false""#),
        ("report.json", r#""complete": false"#),
        ("report.sarif", r#""executionSuccessful": false"#),
        ("report.md", "Incomplete"),
        ("report.html", "Incomplete"),
    ] {
        let text = std::fs::read_to_string(killed.join(name)).unwrap();
        assert!(text.contains(mark), "{name} does not say that the run is incomplete");
    }
}

#[test]
fn what_is_said_without_a_node_is_said() {
    let explained = seaworthy(&["explain", "NumCPU"]);
    for part in ["node.machine.cpus", "Why it matters", "How it is checked", "How to fix it", "Basis", "[[waiver]]"] {
        assert!(explained.out.contains(part), "{part}: {}", explained.out);
    }
    assert!(seaworthy(&["completions", "bash"]).out.contains("complete -F"));
    assert!(seaworthy(&["man"]).out.contains(".TH seaworthy"));
    assert!(seaworthy(&["schema"]).out.contains("\"$schema\""));
    assert!(seaworthy(&["--help"]).out.contains("130, 143  interrupted"));
}

#[test]
fn a_full_result_folder_stops_the_run() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none());
        println!("skipped: only root can mount a small file system");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Some("size=4k,nr_inodes=4");
    nix::mount::mount(Some("none"), dir.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), options).unwrap();
    let said = seaworthy(&["run", "--passive", "-O", dir.path().to_str().unwrap()]);
    nix::mount::umount(dir.path()).unwrap();
    assert_eq!(said.code, Some(2), "{}", said.out);
    assert!(said.err.contains("No space left") && said.err.contains("-O"), "{}", said.err);
}

/// A small file system, until it is dropped; `None`, with the reason printed, where it cannot be mounted.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none());
            println!("skipped: only root can mount a small file system");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        nix::mount::mount(Some("none"), dir.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), Some(options))
            .unwrap();
        Some(Self(dir))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        nix::mount::umount(self.0.path()).ok();
    }
}

#[test]
fn a_disk_that_fills_up_while_reports_are_written_still_prints_the_findings() {
    let focus = ["run", "--passive", "--focus", r"node\.machine\.(cpus|memory)$|node.kubelet.version$"];
    let dir = tempfile::tempdir().unwrap();
    seaworthy_in(dir.path(), &focus);
    let pages = |name: &str| dir.path().join("results").join(name).metadata().unwrap().len().div_ceil(4096);
    // Room for the journal and the first report, and a page that is too little for the second.
    let room = pages("journal.jsonl") + pages("junit_01.xml") + 1;
    let Some(small) = Small::mount(&format!("size={}k", room * 4)) else { return };
    let said = seaworthy(&[&focus[..], &["-O", small.path()]].concat());
    assert!(matches!(said.code, Some(1 | 3)), "{:?} {}{}", said.code, said.out, said.err);
    assert!(said.out.contains("Missing: ") && said.out.contains("No space left"), "{}", said.out);
    assert!(said.out.contains("junit_01.xml") && said.out.contains(" passed"), "{}", said.out);
    let names: Vec<_> = std::fs::read_dir(small.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{names:?}");
    let report = seaworthy(&["report", small.path(), "--format", "json"]);
    assert!(report.out.contains(r#""complete": true"#), "{}", report.err);
}

#[test]
fn a_disk_that_fills_up_under_the_journal_leaves_whole_events_and_the_findings() {
    let dir = tempfile::tempdir().unwrap();
    seaworthy_in(dir.path(), &["run", "--passive"]);
    let whole = dir.path().join("results/journal.jsonl").metadata().unwrap().len();
    // Room for the run's start and most of the verdicts.
    let Some(small) = Small::mount(&format!("size={}k", whole / 1024 - 40)) else { return };
    let said = seaworthy(&["run", "--passive", "-O", small.path()]);
    assert!(matches!(said.code, Some(1 | 3)), "{:?} {}{}", said.code, said.out, said.err);
    assert!(said.err.contains("the journal ends here"), "{}", said.err);
    assert!(said.out.contains("Incomplete: ") && said.out.contains(" passed"), "{}", said.out);
    let journal = std::fs::read(Path::new(small.path()).join("journal.jsonl")).unwrap();
    assert!(journal.ends_with(b"\n") && !journal.contains(&0), "{} bytes", journal.len());
    assert!(journal.len() > 100 << 10, "{} bytes: it should have begun", journal.len());
    let report = seaworthy(&["report", small.path(), "--format", "json"]);
    assert!(report.out.contains(r#""complete": false"#), "{}", report.err);
}

#[test]
fn a_container_without_a_volume_prints_the_summary_and_says_that_reports_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let sail = |report: &str| {
        let environment = [
            ("SEAWORTHY_ROOTFS", "/"),
            ("REPORT_PATH", report),
            ("TEST_ARGS", "--passive"),
            ("FOCUS", "node.machine.cpus"),
        ];
        seaworthy_with(dir.path(), &environment, &[])
    };
    // What cannot be written at all, as in a container with a read-only root.
    let said = sail("/proc/nowhere");
    assert!(matches!(said.code, Some(0 | 1)), "{:?} {}{}", said.code, said.out, said.err);
    assert!(said.out.contains("Reports are lost: ") && said.out.contains(":/proc/nowhere"), "{}", said.out);
    assert!(said.out.contains("1 passed") || said.out.contains("1 failed"), "{}", said.out);
    let Some(volume) = Small::mount("size=8m") else { return };
    let said = sail(volume.path());
    assert!(said.out.contains("Reports in ") && !said.out.contains("lost"), "{}", said.out);
}

#[test]
fn waivers_take_every_name_that_focus_takes() {
    let dir = tempfile::tempdir().unwrap();
    let node = concat!(env!("CARGO_MANIFEST_DIR"), "/../checks/nodes/recorded/this-machine.tar.zst");
    let run = |waiver: Option<&str>, focus: &str| {
        let mut arguments = vec!["run", "--passive", "--host", node, "--fail-on", "info", "--focus", focus];
        if let Some(waiver) = waiver {
            let text = format!("[[waiver]]\nid = '{waiver}'\nreason = 'known'\n");
            std::fs::write(dir.path().join("w.toml"), text).unwrap();
            arguments.extend(["--waivers", "w.toml"]);
        }
        seaworthy_in(dir.path(), &arguments)
    };
    let focus = r"^node\.sysctl\.kernel\.panic$";
    assert_eq!(run(None, focus).code, Some(1));
    let list = seaworthy(&["list", "-o", "json", "--focus", focus]).out;
    let listed: serde_json::Value = serde_json::from_str(&list).unwrap();
    let names = [
        "node.sysctl.kernel.panic",
        listed[0]["title"].as_str().unwrap(),
        listed[0]["aliases"][0].as_str().unwrap(),
        r"kernel\.panic$",
        "node.sysctl.*",
    ];
    for name in names {
        let said = run(Some(name), focus);
        assert_eq!(said.code, Some(0), "{name}: {}{}", said.out, said.err);
        assert!(said.out.contains("1 waived"), "{name}: {}", said.out);
    }
    let said = run(Some("("), focus);
    assert!(said.code == Some(2) && said.err.contains("w.toml line 1"), "{}", said.err);
}

#[test]
fn text_wraps_at_words_from_40_columns_up() {
    let dir = tempfile::tempdir().unwrap();
    for columns in ["40", "63", "80", "120"] {
        let width: usize = columns.parse().unwrap();
        let say = |arguments: &[&str]| seaworthy_with(dir.path(), &[("COLUMNS", columns)], arguments);
        let said = say(&["run", "--passive", "--focus", r"node\.(machine|sysctl|kubelet|network)\."]);
        let page = say(&["explain", "node.network.hostname-not-localhost"]);
        let refusal = say(&["run", "--host", "/nonexistent/and/more", "--focus", "node.machine"]);
        for (what, text) in [("run", &said.out), ("explain", &page.out), ("error", &refusal.err)] {
            let mut command = false;
            for line in text.lines() {
                // Commands and the content of files are copied, so they stay whole; so do words that are longer.
                command = line.starts_with("Next: seaworthy ")
                    || line.trim_start().starts_with("fix ")
                    || (command && line.starts_with(' '));
                let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
                let fits = line.chars().count() <= width || longest + 13 >= width;
                assert!(fits || command || line.starts_with("    "), "{what} at {columns}: {line}");
            }
        }
        if width < 64 {
            assert!(page.out.lines().count() > 20, "{}", page.out);
        }
    }
    let whole = seaworthy_in(dir.path(), &["explain", "node.network.hostname-not-localhost"]).out;
    assert!(whole.lines().any(|line| line.len() > 60), "what is not a terminal is not wrapped");
    // Help is wrapped by the terminal's width, not by us.
    let help = seaworthy_with(dir.path(), &[("COLUMNS", "60")], &["--help"]).out;
    assert!(help.lines().all(|line| line.chars().count() <= 60), "{help}");
}
