//! `seaworthy listen` and `seaworthy reach` between two nodes made of network namespaces.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_seaworthy");

/// Two nodes on one link: a has .1, b has .2.
struct Link {
    name: String,
    folder: tempfile::TempDir,
}

impl Link {
    fn new(name: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none());
            println!("skipped: only root can make network namespaces");
            return None;
        }
        let link = Self { name: format!("sw{}{name}", std::process::id()), folder: tempfile::tempdir().unwrap() };
        let (a, b) = (link.namespace("a"), link.namespace("b"));
        for namespace in [&a, &b] {
            sh(&format!("ip netns add {namespace} && ip -n {namespace} link set lo up"));
        }
        sh(&format!("ip -n {a} link add eth0 type veth peer name eth0 netns {b}"));
        for (namespace, number) in [(&a, 1), (&b, 2)] {
            sh(&format!(
                "ip -n {namespace} address add 192.0.2.{number}/24 dev eth0 && \
                 ip -n {namespace} address add fd00::{number}/64 dev eth0 nodad && ip -n {namespace} link set eth0 up"
            ));
        }
        link.hosts("192.0.2.1 node-a\n192.0.2.2 node-b\nfd00::2 node-b\n");
        Some(link)
    }

    fn namespace(&self, node: &str) -> String {
        format!("{}{node}", self.name)
    }

    fn hosts_file(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    fn hosts(&self, text: &str) {
        std::fs::write(self.hosts_file(), format!("127.0.0.1 localhost\n{text}")).unwrap();
    }

    /// A command on a node, with the node's own name and /etc/hosts.
    fn on(&self, node: &str, command: &str) -> Command {
        let (hosts, namespace) = (self.hosts_file(), self.namespace(node));
        let script = format!(
            "mount --bind {} /etc/hosts && hostname node-{node} && exec nsenter --net=/run/netns/{namespace} {command}",
            hosts.display()
        );
        let mut unshared = Command::new("unshare");
        unshared.args(["-m", "-u", "sh", "-c", &script]).env_remove("COLUMNS");
        unshared
    }

    fn listen(&self, options: &str) -> Listener {
        let mut child = self
            .on("b", &format!("{PROGRAM} listen {options}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            said += &line.unwrap();
            said.push('\n');
            if said.contains("Ctrl-C ends it") {
                break;
            }
        }
        assert!(said.contains("node-b listens on"), "{said}");
        Listener { child, said }
    }

    fn reach(&self, options: &str) -> (Option<i32>, Value) {
        let Output { status, stdout, stderr } =
            self.on("a", &format!("{PROGRAM} reach -o json {options}")).output().unwrap();
        let report = serde_json::from_slice(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
        (status.code(), report)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for node in ["a", "b"] {
            Command::new("ip").args(["netns", "delete", &self.namespace(node)]).status().ok();
        }
    }
}

struct Listener {
    child: Child,
    said: String,
}

impl Listener {
    /// Ctrl-C: the answer, and the exit code.
    fn end(mut self) -> (Option<i32>, String) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code(), out)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How a port of the only peer fares.
fn fare<'r>(report: &'r Value, port: &str) -> &'r Value {
    let ports = report["peers"][0]["ports"].as_array().unwrap();
    ports.iter().find(|entry| entry["port"] == port).unwrap_or_else(|| panic!("{port} is not in {report:#}"))
}

fn problems(report: &Value) -> Vec<String> {
    let all = report["peers"][0]["problems"].as_array().unwrap();
    all.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

#[test]
fn nodes_that_reach_each_other_are_fine_and_a_port_in_use_is_named() {
    let Some(link) = Link::new("ok") else { return };
    let mut kubelet = Command::new("ip");
    kubelet.args(["netns", "exec", &link.namespace("b"), "socat", "TCP-LISTEN:10250,fork,reuseaddr", "SYSTEM:cat"]);
    let mut kubelet = kubelet.stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let listener = link.listen("");
    assert!(listener.said.contains("tcp/10250 is in use by socat"), "{}", listener.said);
    for peer in ["node-b", "192.0.2.2", "fd00::2"] {
        let (code, report) = link.reach(peer);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(fare(&report, "tcp/6443")["result"], "open", "{report:#}");
        assert_eq!(fare(&report, "udp/8472")["result"], "open", "{report:#}");
        assert_eq!(fare(&report, "tcp/10250")["result"], "in-use", "{report:#}");
        assert_eq!(fare(&report, "tcp/10250")["by"], "socat", "{report:#}");
        let first = &report["peers"][0];
        assert_eq!((&first["mtu"]["path"], &first["mtu"]["stalls"]), (&1500.into(), &false.into()), "{report:#}");
        assert_eq!(first["host"], "node-b");
        assert!(first["clock"]["offset_ms"].as_f64().unwrap().abs() < 500.0, "{report:#}");
    }
    // A name that is not known here, and one that is another's.
    for (hosts, problem) in [("", "does not resolve here"), ("192.0.2.9 node-b\n", "192.0.2.9 here")] {
        link.hosts(hosts);
        let (code, report) = link.reach("192.0.2.2");
        assert_eq!(code, Some(1), "{report:#}");
        assert!(problems(&report).iter().any(|said| said.contains("node-b") && said.contains(problem)), "{report:#}");
    }
    kubelet.kill().unwrap();
    kubelet.wait().unwrap();
    let (code, heard) = listener.end();
    assert_eq!(code, Some(0), "{heard}");
    assert!(heard.contains("192.0.2.1 reached ") && heard.contains("fd00::1 reached "), "{heard}");
}

#[test]
fn what_a_firewall_resets_and_what_it_drops_are_told_apart() {
    let Some(link) = Link::new("fw") else { return };
    sh(&format!(
        "ip netns exec {} nft -f - <<'END'\n\
         table inet t {{\n chain input {{\n type filter hook input priority 0;\n\
         tcp dport 2379 drop\n tcp dport 2380 reject with tcp reset\n udp dport 8472 drop\n\
         udp dport 4789 reject\n tcp dport 30000 reject with icmpx type admin-prohibited\n }}\n}}\nEND",
        link.namespace("b")
    ));
    let listener = link.listen("");
    let (code, report) = link.reach("192.0.2.2");
    assert_eq!(code, Some(1), "{report:#}");
    for (port, result) in [
        ("tcp/6443", "open"),
        ("tcp/2379", "dropped"),
        ("tcp/2380", "refused"),
        ("udp/8472", "dropped"),
        ("udp/4789", "refused"),
        ("tcp/30000", "rejected"),
        ("tcp/32767", "open"),
    ] {
        assert_eq!(fare(&report, port)["result"], result, "{port}: {report:#}");
    }
    assert_eq!(fare(&report, "tcp/2380")["listened"], true, "{report:#}");
    assert_eq!(problems(&report).len(), 5, "{report:#}");
    // Text for people says the same, and ends with the count.
    let text = link.on("a", &format!("{PROGRAM} reach 192.0.2.2 --port tcp/4000")).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("tcp/2379   dropped") && text.contains("tcp/4000   untested"), "{text}");
    assert!(text.contains("5 problems with 1 addresses"), "{text}");
    let (_, heard) = listener.end();
    assert!(heard.contains("192.0.2.1 did not reach tcp/2379"), "{heard}");
}

#[test]
fn an_mtu_that_differs_or_that_the_path_does_not_have_is_found() {
    let Some(link) = Link::new("mtu") else { return };
    let b = link.namespace("b");
    let listener = link.listen("--port udp/8473");
    // The path loses what is longer than 1400 bytes, without a word.
    sh(&format!(
        "ip netns exec {b} nft 'add table inet t; add chain inet t c {{ type filter hook prerouting priority -300; }}; \
         add rule inet t c meta iifname eth0 meta length > 1400 drop'"
    ));
    let (code, report) = link.reach("192.0.2.2");
    assert_eq!(code, Some(1), "{report:#}");
    let mtu = &report["peers"][0]["mtu"];
    assert_eq!(
        (&mtu["path"], &mtu["interface"], &mtu["stalls"]),
        (&1400.into(), &1500.into(), &true.into()),
        "{report:#}"
    );
    assert!(problems(&report).iter().any(|problem| problem.contains("more than 1400 bytes")), "{report:#}");
    sh(&format!("ip netns exec {b} nft flush ruleset"));
    drop(listener);
    sh(&format!("ip -n {b} link set eth0 mtu 1400"));
    let listener = link.listen("");
    let (code, report) = link.reach("192.0.2.2");
    assert_eq!(code, Some(1), "{report:#}");
    assert!(problems(&report).iter().any(|problem| problem.contains("1500 here, 1400 at the peer")), "{report:#}");
    drop(listener);
}

#[test]
fn without_a_listener_nothing_is_concluded_and_a_dead_peer_is() {
    let Some(link) = Link::new("no") else { return };
    let (code, report) = link.reach("192.0.2.2");
    assert_eq!(code, Some(3), "{report:#}");
    assert_eq!(fare(&report, "tcp/6443")["result"], "refused", "{report:#}");
    let (code, report) = link.reach("192.0.2.77 --for etcd");
    assert_eq!(code, Some(1), "{report:#}");
    // Nobody answers for the address: the kernel says so, or nothing is said.
    assert!(matches!(fare(&report, "tcp/2379")["result"].as_str(), Some("rejected" | "dropped")), "{report:#}");
}

#[test]
fn bad_input_is_named_and_an_answer_is_never_longer_than_its_question() {
    let run = |arguments: &[&str]| Command::new(PROGRAM).args(arguments).output().unwrap();
    for (arguments, named) in [
        (&["reach"][..], "PEER"),
        (&["reach", "127.0.0.1", "--port", "sctp/1"], "sctp"),
        (&["listen", "--port", "70000"], "70000"),
        (&["listen", "--minutes", "0"], "0"),
        (&["reach", "no-such-node.invalid"], "no-such-node.invalid"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{arguments:?}");
    }
    // A free port of this machine's loopback; only its own test listens there.
    let number = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(PROGRAM)
        .args(["listen", "--for", "etcd", "--address", "127.0.0.1", "--port", &format!("udp/{number}")])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("Ctrl-C")).unwrap().unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(std::time::Duration::from_millis(400))).unwrap();
    let ask = |text: String, size: usize| {
        let mut question = text.into_bytes();
        question.resize(size, b'.');
        udp.send_to(&question, ("127.0.0.1", number)).unwrap();
        udp.recv(&mut [0; 1 << 16]).ok()
    };
    let head = |size: usize| format!("seaworthy/1 reach nonce=0000000000000001 size={size} answer=whole\n");
    assert_eq!(ask(head(512), 512), Some(512));
    assert_eq!(ask(head(1400), 1400), Some(1400));
    // Short questions, and those that claim to be longer than they are, are not answered.
    assert_eq!(ask(head(100), 100), None);
    assert_eq!(ask(head(1400), 600), None);
    assert_eq!(ask("hello".to_owned(), 600), None);
    child.kill().unwrap();
    child.wait().unwrap();
}
