//! Hosts of Linux namespaces: born, asked, joined, killed, removed. Needs root.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use seaworthy_provision::host::unit::{Exit, Ready, Restart, State, Unit};
use seaworthy_provision::host::{Host, HostSpec, host_main};
use seaworthy_provision::network;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = host_main(&arguments) {
        return code;
    }
    type Test = fn() -> Result<(), Failed>;
    let tests: [(&str, Test); 4] = [
        ("a_host_is_apart_from_the_machine_and_leaves_nothing", apart),
        ("units_are_started_again_stopped_and_waited_for", units),
        ("hosts_reach_each_other_by_both_families", links),
        ("sockets_outlive_the_unit_that_serves_them", sockets),
    ];
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "these tests need root");
        println!("skipped: these tests need root");
    }
    let trials = tests.into_iter().map(|(name, test)| Trial::test(name, test).with_ignored_flag(!root)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A host that does not outlive its test, however that ends.
struct Kept(Option<Host>);

impl std::ops::Deref for Kept {
    type Target = Host;

    fn deref(&self) -> &Host {
        self.0.as_ref().unwrap()
    }
}

impl Kept {
    fn remove(mut self) -> Result<(), Failed> {
        Ok(self.0.take().unwrap().remove()?)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(host) = self.0.take() {
            host.remove().unwrap();
        }
    }
}

fn host(folder: &Path, name: &str) -> Kept {
    let spec = HostSpec {
        name: name.to_owned(),
        cgroup: format!("seaworthy/test{}-{name}", folder.file_name().unwrap().to_string_lossy()),
        programs: BTreeMap::from([("own-true".to_owned(), "/bin/true".into())]),
        folders: BTreeMap::new(),
        hosts: "127.0.0.1 localhost\n192.0.2.7 elsewhere\n".to_owned(),
        resolv: "nameserver 192.0.2.53\n".to_owned(),
        rootless: false,
    };
    Kept(Some(Host::create(&folder.join(name), spec).unwrap()))
}

fn unit(name: &str, script: &str) -> Unit {
    Unit {
        name: name.to_owned(),
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::new(),
        restart: Restart::Always,
        after: None,
        ready: None,
        listen: Vec::new(),
        cgroup: None,
        pod: None,
    }
}

fn apart() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let before = mounts();
    let host = host(folder.path(), "ship");
    let process = host.start()?;
    assert_eq!(host.start()?, process, "one that is alive is let be");
    let client = host.client();
    let say = |command: &str| client.output(&["sh", "-c", command]).unwrap();
    assert_eq!(say("hostname; cat /etc/hostname").trim(), "ship\nship");
    assert_eq!(say("getent hosts elsewhere | tr -s ' '").trim(), "192.0.2.7 elsewhere");
    assert_eq!(say("ls /etc/kubernetes /var/lib /run /tmp | grep -v :"), "\n".repeat(3));
    assert_eq!(say("ps -eo pid,args | grep -c '[_]_host'").trim(), "1", "its agent, and no other's");
    assert_eq!(say("command -v own-true").trim(), "/usr/local/bin/own-true");
    assert_eq!(say("ls /sys/class/net").trim(), "lo");
    // The roots of the hierarchies are the host's own cgroups.
    assert_eq!(say("cut -d: -f3 /proc/self/cgroup | sort -u | grep -vxE '/|/agent' | wc -l").trim(), "0");
    say("echo x > /etc/written-in-a-host; echo x > /usr/written; mkdir /etc/kubernetes/pki; echo x > /var/lib/kept");
    assert!(!Path::new("/etc/written-in-a-host").exists() && !Path::new("/usr/written").exists());
    assert!(host.kubernetes().join("pki").is_dir() && host.var().join("lib/kept").is_file());
    let failed = client.output(&["sh", "-c", "echo why >&2; exit 3"]).unwrap_err().to_string();
    assert!(failed.contains("exit code 3") && failed.contains("why"), "{failed}");
    // The power goes and comes back.
    host.kill()?;
    assert!(host.process().is_none());
    let silent = client.status().unwrap_err().to_string();
    assert!(silent.contains("ship") && silent.contains("does not answer"), "{silent}");
    host.start()?;
    assert_eq!(say("cat /var/lib/kept /etc/written-in-a-host").trim(), "x\nx");
    let cgroup = host.spec().cgroup.clone();
    let path = host.folder().to_owned();
    host.remove()?;
    assert!(!path.exists());
    let left = say_here(&format!("find /sys/fs/cgroup -path '*{cgroup}*'"));
    assert_eq!(left, "");
    assert_eq!(mounts(), before);
    Ok(())
}

fn say_here(command: &str) -> String {
    String::from_utf8(std::process::Command::new("sh").args(["-c", command]).output().unwrap().stdout).unwrap()
}

fn units() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let host = host(folder.path(), "ship");
    host.start()?;
    let client = host.client();
    let patience = Duration::from_secs(60);
    // One that ends again and again is told with what it says.
    let sinks = Unit { ready: Some(Ready::Socket("/run/none".into())), ..unit("sinks", "echo a hole >&2; exit 7") };
    client.start(sinks)?;
    let (status, log) = client.wait("sinks", patience)?.expect("it is not ready");
    assert_eq!(status.exit, Some(Exit::Code(7)));
    assert!(log.iter().any(|line| line.contains("a hole")), "{log:?}");
    client.stop("sinks", patience)?;
    // One that is ready once its socket is.
    let socket = "/run/bell.sock";
    let serve = format!("socat UNIX-LISTEN:{socket},unlink-early,fork SYSTEM:true");
    client.start(Unit { ready: Some(Ready::Socket(socket.into())), ..unit("bell", &serve) })?;
    assert!(client.wait("bell", patience)?.is_none());
    client.signal(Some("bell"), nix::sys::signal::Signal::SIGKILL)?;
    let again = std::time::Instant::now();
    let bell = || client.status().unwrap().into_iter().find(|status| status.unit.name == "bell").unwrap();
    while bell().restarts == 0 {
        assert!(again.elapsed() < patience);
    }
    assert!(client.wait("bell", patience)?.is_none());
    // One that needs another is started once that is ready, and not before.
    let first = Unit { ready: Some(Ready::Socket("/run/first.sock".into())), ..unit("first", "sleep 1000") };
    let then = Unit { after: Some("first".to_owned()), ..unit("then", "test -S /run/first.sock && sleep 1000") };
    client.start(first)?;
    client.start(then)?;
    let (status, _) = client.wait("then", Duration::from_millis(50))?.expect("it is not started");
    assert_eq!((status.pid, status.doubt.as_deref()), (None, Some("it waits for first")));
    client.output(&["sh", "-c", "socat UNIX-LISTEN:/run/first.sock,fork SYSTEM:true >/dev/null 2>&1 &"])?;
    assert!(client.wait("then", patience)?.is_none());
    let all = client.status()?;
    assert!(all.iter().any(|one| one.unit.name == "then" && one.restarts == 0 && one.exit.is_none()), "{all:?}");
    // A signal to all stops them without their agent.
    client.signal(None, nix::sys::signal::Signal::SIGSTOP)?;
    assert_eq!(bell().state, State::Frozen);
    client.signal(None, nix::sys::signal::Signal::SIGCONT)?;
    // One that does not want to end is ended.
    let mut deaf = unit("deaf", "");
    let wait = "import signal,socket,time\nsignal.signal(15,signal.SIG_IGN)\ns=socket.socket(socket.AF_UNIX)\n\
                s.bind('/run/deaf.sock')\ns.listen(9)\ntime.sleep(600)";
    deaf.argv = ["python3", "-c", wait].map(str::to_owned).into();
    client.start(Unit { ready: Some(Ready::Socket("/run/deaf.sock".into())), ..deaf })?;
    assert!(client.wait("deaf", patience)?.is_none());
    client.stop("then", Duration::ZERO)?;
    let then = client.status()?.into_iter().find(|status| status.unit.name == "then").unwrap();
    assert_eq!((then.state, then.exit), (State::Stopped, Some(Exit::Signal(9))), "without grace there is no SIGTERM");
    client.stop("deaf", Duration::from_millis(50))?;
    let status = client.status()?.into_iter().find(|status| status.unit.name == "deaf").unwrap();
    assert_eq!((status.state, status.exit), (State::Stopped, Some(Exit::Signal(9))));
    let unknown = client.stop("none", patience).unwrap_err().to_string();
    assert!(unknown.contains("it has no unit 'none'"), "{unknown}");
    host.remove()?;
    Ok(())
}

fn links() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (switch, a, b) = (host(folder.path(), "switch"), host(folder.path(), "a"), host(folder.path(), "b"));
    let hub = switch.start()?;
    network::switch(hub)?;
    let net = |text: &str| text.parse().unwrap();
    for (host, number, v4, v6) in [(&a, 1, "192.0.2.1/24", "2001:db8::1/64"), (&b, 2, "192.0.2.2/24", "2001:db8::2/64")]
    {
        let process = host.start()?;
        for _ in 0..2 {
            let addresses = [net(v4), net(v6)];
            let (port, mac) = (host.name(), [2, 0, 0, 0, 0, number]);
            network::attach(hub, process, &network::Link { port, mac, addresses: &addresses, gateways: &[] })?;
        }
    }
    for address in ["192.0.2.2", "2001:db8::2"] {
        let (family, port) = if address.contains(':') { ("TCP6", 4006) } else { ("TCP4", 4004) };
        b.client().start(unit(family, &format!("socat {family}-LISTEN:{port},fork,reuseaddr SYSTEM:'echo ahoy'")))?;
        let call = format!(
            "for i in $(seq 500); do socat -u {family}:[{address}]:{port} - 2>/dev/null && exit 0; done; exit 1"
        );
        let call = if family == "TCP4" { call.replace(['[', ']'], "") } else { call };
        assert_eq!(a.client().output(&["sh", "-c", &call])?.trim(), "ahoy");
    }
    for host in [a, b, switch] {
        host.remove()?;
    }
    Ok(())
}

fn sockets() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let host = host(folder.path(), "ship");
    let process = host.start()?;
    network::switch(process)?;
    let client = host.client();
    let serve = "import os,socket\nassert os.environ['SEAWORTHY_LISTEN_FDS']=='1'\ns=socket.socket(fileno=3)\n\
                 c=s.accept()[0]\nc.sendall(b'aye')\nc.close()";
    let mut unit = unit("once", "");
    unit.argv = ["python3", "-c", serve].map(str::to_owned).into();
    unit.listen = vec!["127.0.0.1:4000".parse().unwrap()];
    client.start(unit)?;
    // Each answer ends the unit; the next caller waits in the socket, and is not refused.
    for _ in 0..3 {
        assert_eq!(client.output(&["socat", "-u", "TCP:127.0.0.1:4000", "-"])?, "aye");
    }
    host.remove()?;
    Ok(())
}
