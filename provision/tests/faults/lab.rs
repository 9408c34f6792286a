//! Hosts on a bridge: network namespaces that are held by descriptors of ours alone, so that nothing of them outlives
//! the process.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sched::{CloneFlags, setns, unshare};
use seaworthy_provision::fault::link::{Interface, Port};

/// A network namespace.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Self {
        let thread = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(std::thread::spawn(thread).join().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc").join(std::process::id().to_string()).join("fd").join(self.0.as_raw_fd().to_string())
    }

    /// Does something in it. Sockets that are made there stay there.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let thread = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        std::thread::scope(|scope| scope.spawn(thread).join().unwrap())
    }

    pub(crate) fn run(&self, script: &str) -> String {
        let output = self.inside(|| Command::new("sh").args(["-ec", script]).output().unwrap());
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A switch with the bridge `br0`, and hosts on it whose ports are named as they are.
pub(crate) struct Lab {
    pub(crate) switch: Namespace,
    pub(crate) hosts: Vec<Namespace>,
    pub(crate) ports: Vec<Port>,
}

impl Lab {
    /// Hosts with the addresses 10.9.0.1, 10.9.0.2 … and fd09::1, fd09::2 …, which know each other's Ethernet
    /// addresses.
    pub(crate) fn new(names: &[&str]) -> Option<Self> {
        let tools = ["ip", "nft"].iter().all(|tool| Command::new(tool).arg("-V").output().is_ok());
        if !(tools && nix::unistd::geteuid().is_root()) {
            crate::required("root, iproute2 and nftables");
            return None;
        }
        let switch = Namespace::new();
        switch.run("ip link add name br0 type bridge; ip link set dev br0 up; ip addr add 10.9.0.254/24 dev br0");
        let mut lab = Self { switch, hosts: Vec::new(), ports: Vec::new() };
        for (name, number) in names.iter().zip(1..) {
            let (host, port) = (Namespace::new(), format!("02:00:00:00:00:{number:02x}"));
            lab.switch.run(&format!(
                "ip link add name {name} type veth peer name eth0 address {port} netns {}; ip link set dev {name} \
                 master br0 up",
                host.path().display()
            ));
            host.run(&format!(
                "ip link set lo up; ip link set eth0 up; ip addr add 10.9.0.{number}/24 dev eth0; ip addr add \
                 fd09::{number}/64 dev eth0 nodad"
            ));
            for other in (1..=names.len()).filter(|&other| other != number) {
                host.run(&format!(
                    "ip neigh add 10.9.0.{other} dev eth0 lladdr 02:00:00:00:00:{other:02x}; ip neigh add \
                     fd09::{other} dev eth0 lladdr 02:00:00:00:00:{other:02x}"
                ));
            }
            lab.hosts.push(host);
            lab.ports.push(Port { interface: name.parse().unwrap(), mac: port.parse().unwrap() });
        }
        Some(lab)
    }

    pub(crate) fn interface(&self, number: usize) -> Interface {
        self.ports[number - 1].interface.clone()
    }

    pub(crate) fn host(&self, number: usize) -> &Namespace {
        &self.hosts[number - 1]
    }
}

/// A process of ours that ends with this value.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Starts it and waits until its socket is there.
    pub(crate) fn start(mut command: Command, socket: &Path) -> Self {
        let mut process = Self(command.spawn().unwrap());
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            assert_eq!(process.0.try_wait().unwrap(), None, "{command:?} ended");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        process
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
