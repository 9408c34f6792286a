//! Faults of the network, by what packets do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use seaworthy_provision::fault::link::delay::{self, DelayedPath, Delays, Shape};
use seaworthy_provision::fault::link::{Effect, End, Rule, apply, mac};

use crate::lab::{Lab, Process};

pub(crate) const TRIALS: &[(&str, fn())] = &[
    ("a partition of one way leaves the other", one_way),
    ("a host cut off reaches nothing and is not reached", isolated),
    ("a rejection is an answer on both families and for the one host alone", rejected),
    ("so much is lost as is asked", lost),
    ("a host's delay is felt, changed and undone", delayed),
    ("zones are as far from each other as is asked and partitions hold between them", zones),
    ("much passes unharmed through a delay, and as much as is asked through a narrow link", carried),
];

fn rule(lab: &Lab, from: &[usize], to: &[usize], effect: Effect) -> Rule {
    let end = |hosts: &[usize]| match hosts {
        [] => End::Any,
        hosts => End::Hosts(hosts.iter().map(|host| lab.ports[host - 1].clone()).collect()),
    };
    Rule { from: end(from), to: end(to), effect }
}

fn socket(lab: &Lab, number: usize) -> UdpSocket {
    lab.host(number).inside(|| UdpSocket::bind(format!("10.9.0.{number}:900")).unwrap())
}

/// What of two datagrams arrives: the first one sent under these rules, the second under none. Nothing overtakes, so no
/// waiting.
fn arrives(lab: &Lab, from: &UdpSocket, to: &UdpSocket, rules: &[Rule]) -> bool {
    let address = to.local_addr().unwrap();
    apply(&lab.switch.path(), rules).unwrap();
    from.send_to(b"faulty", address).unwrap();
    apply(&lab.switch.path(), &[]).unwrap();
    from.send_to(b"healthy", address).unwrap();
    let mut buffer = [0; 16];
    let mut next = || {
        let length = to.recv(&mut buffer).unwrap();
        buffer[..length].to_owned()
    };
    let passed = next() == b"faulty";
    assert!(!passed || next() == b"healthy");
    passed
}

fn one_way() {
    let Some(lab) = Lab::new(&["cp1", "cp2", "cp3"]) else { return };
    let (one, two, three) = (socket(&lab, 1), socket(&lab, 2), socket(&lab, 3));
    let rules = [rule(&lab, &[1], &[2, 3], Effect::Drop)];
    assert!(!arrives(&lab, &one, &two, &rules));
    assert!(!arrives(&lab, &one, &three, &rules));
    assert!(arrives(&lab, &two, &one, &rules));
    assert!(arrives(&lab, &two, &three, &rules));
    // Twice is once, and none is nothing.
    apply(&lab.switch.path(), &rules).unwrap();
    apply(&lab.switch.path(), &rules).unwrap();
    assert_eq!(lab.switch.run("nft list ruleset").matches("ether saddr").count(), 1);
    apply(&lab.switch.path(), &[]).unwrap();
    assert_eq!(lab.switch.run("nft list ruleset"), "");
    assert_eq!(mac(&lab.host(2).path(), &"eth0".parse().unwrap()).unwrap(), lab.ports[1].mac);
    let error = mac(&lab.host(2).path(), &"eth1".parse().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("there is no Ethernet interface eth1"), "{error}");
    let error = apply(Path::new("/proc/0/ns/net"), &[]).unwrap_err().to_string();
    assert!(error.starts_with("the network namespace /proc/0/ns/net cannot be entered"), "{error}");
}

fn isolated() {
    let Some(lab) = Lab::new(&["cp1", "cp2", "cp3"]) else { return };
    let (one, two, three) = (socket(&lab, 1), socket(&lab, 2), socket(&lab, 3));
    let gateway = lab.switch.inside(|| UdpSocket::bind("10.9.0.254:900").unwrap());
    let rules = [rule(&lab, &[1], &[], Effect::Drop), rule(&lab, &[], &[1], Effect::Drop)];
    for (from, to) in [(&one, &two), (&three, &one), (&one, &gateway), (&gateway, &one)] {
        // First without, so that the gateway knows the Ethernet address and does not hold a datagram back for it.
        assert!(arrives(&lab, from, to, &[]));
        assert!(!arrives(&lab, from, to, &rules));
    }
    assert!(arrives(&lab, &three, &two, &rules));
    assert!(arrives(&lab, &gateway, &two, &rules));
}

fn rejected() {
    let Some(lab) = Lab::new(&["cp1", "cp2", "cp3"]) else { return };
    let listeners = ["10.9.0.2:80", "[fd09::2]:80"].map(|address| {
        let listener = lab.host(2).inside(|| TcpListener::bind(address).unwrap());
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).ok();
            }
        });
        address
    });
    for address in listeners {
        let mut open = lab.host(1).inside(|| TcpStream::connect(address).unwrap());
        open.write_all(b"x").unwrap();
        open.read_exact(&mut [0]).unwrap();
        // A sender that is not there does not keep the others' rules from applying.
        let mut rules = vec![rule(&lab, &[1], &[2], Effect::Reject), rule(&lab, &[1], &[2], Effect::Reject)];
        if let End::Hosts(ports) = &mut rules[1].from {
            ports[0].interface = "gone".parse().unwrap();
        }
        apply(&lab.switch.path(), &rules).unwrap();
        let refused = lab.host(1).inside(|| TcpStream::connect(address).unwrap_err().kind());
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        open.write_all(b"y").ok();
        assert_eq!(open.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let third = lab.host(3).inside(|| TcpStream::connect(address));
        third.unwrap();
        let datagram = lab.host(1).inside(|| {
            let socket = UdpSocket::bind(if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            socket.connect(address).unwrap();
            socket.send(b"x").unwrap();
            socket.recv(&mut [0]).unwrap_err().kind()
        });
        assert!([ErrorKind::HostUnreachable, ErrorKind::PermissionDenied].contains(&datagram), "{datagram}");
        apply(&lab.switch.path(), &[]).unwrap();
        lab.host(1).inside(|| TcpStream::connect(address)).unwrap();
    }
}

fn lost() {
    let Some(lab) = Lab::new(&["cp1", "cp2"]) else { return };
    let (one, two) = (socket(&lab, 1), socket(&lab, 2));
    setsockopt(&two, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    two.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    apply(&lab.switch.path(), &[rule(&lab, &[1], &[2], Effect::Lose(3000))]).unwrap();
    for _ in 0..10_000 {
        one.send_to(b"x", "10.9.0.2:900").unwrap();
    }
    let arrived = std::iter::from_fn(|| two.recv(&mut [0]).ok()).count();
    // Six standard deviations, of 46 each.
    assert!((6720..=7280).contains(&arrived), "{arrived} of 10,000 arrived");
}

/// The forwarder of a lab.
fn forwarder(lab: &Lab, socket: &Path) -> Process {
    let program = std::env::current_exe().unwrap();
    Process::start(delay::command(program.as_os_str(), &lab.switch.path(), &"br0".parse().unwrap(), socket), socket)
}

/// How long a datagram takes to a host and back: the best of three.
fn round_trip(lab: &Lab, from: usize, to: usize) -> Duration {
    let (one, two) = (socket(lab, from), socket(lab, to));
    let mut buffer = [0; 1];
    let once = || {
        let began = Instant::now();
        one.send_to(b"x", two.local_addr().unwrap()).unwrap();
        let (_, back) = two.recv_from(&mut buffer).unwrap();
        two.send_to(&buffer, back).unwrap();
        one.recv(&mut buffer).unwrap();
        began.elapsed()
    };
    std::iter::repeat_with(once).take(3).min().unwrap()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Both directions between two segments.
fn between(from: usize, to: usize, shape: Shape) -> [DelayedPath; 2] {
    [DelayedPath { from, to, shape }, DelayedPath { from: to, to: from, shape }]
}

fn delay_of(delay: Duration) -> Shape {
    Shape { delay, ..Shape::default() }
}

fn delayed() {
    let Some(lab) = Lab::new(&["cp1", "cp2", "cp3"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("delay");
    let process = forwarder(&lab, &socket);
    let far = |delay| Delays { segments: [(lab.interface(1), 1)].into(), paths: between(0, 1, delay_of(delay)).into() };
    let links = || lab.switch.run("ip -o link | cut -d' ' -f2,8-10 | sort");
    let before = links();
    for delay in [ms(20), ms(45)] {
        delay::set(&socket, &far(delay)).unwrap();
        assert!(round_trip(&lab, 1, 2) >= 2 * delay);
        assert!(round_trip(&lab, 3, 1) >= 2 * delay);
    }
    delay::set(&socket, &Delays::default()).unwrap();
    assert_eq!(links(), before);
    round_trip(&lab, 1, 2);
    // Killed, it leaves the host on its own; the next one brings it back.
    delay::set(&socket, &far(ms(1))).unwrap();
    drop(process);
    assert_ne!(links(), before);
    let process = forwarder(&lab, &socket);
    assert_eq!(links(), before);
    round_trip(&lab, 1, 2);
    delay::set(&socket, &far(ms(1))).unwrap();
    process.end();
    assert_eq!(links(), before);
    round_trip(&lab, 1, 2);
}

fn zones() {
    let Some(lab) = Lab::new(&["cp1", "cp2", "cp3", "w1"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket_path = folder.path().join("delay");
    let _process = forwarder(&lab, &socket_path);
    let segments = [(lab.interface(2), 1), (lab.interface(3), 2), (lab.interface(4), 2)].into();
    let paths = [between(0, 1, delay_of(ms(5))), between(0, 2, delay_of(ms(15))), between(1, 2, delay_of(ms(10)))];
    delay::set(&socket_path, &Delays { segments, paths: paths.concat() }).unwrap();
    assert!(round_trip(&lab, 1, 2) >= ms(10));
    assert!(round_trip(&lab, 1, 3) >= ms(30));
    assert!(round_trip(&lab, 4, 2) >= ms(20));
    round_trip(&lab, 3, 4);
    // A partition holds between bridges, too. What reaches host 4 has let all that was sent before reach the bridge of
    // host 3.
    let (one, three, four) = (socket(&lab, 1), socket(&lab, 3), socket(&lab, 4));
    let mut buffer = [0; 16];
    apply(&lab.switch.path(), &[rule(&lab, &[1, 2], &[3], Effect::Drop)]).unwrap();
    one.send_to(b"faulty", "10.9.0.3:900").unwrap();
    one.send_to(b"last", "10.9.0.4:900").unwrap();
    assert_eq!(four.recv(&mut buffer).unwrap(), 4);
    apply(&lab.switch.path(), &[]).unwrap();
    one.send_to(b"healthy", "10.9.0.3:900").unwrap();
    let length = three.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"healthy");
}

fn carried() {
    let Some(lab) = Lab::new(&["cp1", "cp2"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("delay");
    let _process = forwarder(&lab, &socket);
    let far = |shape| Delays { segments: [(lab.interface(1), 1)].into(), paths: between(0, 1, shape).into() };
    let send = |bytes: usize| {
        let listener = lab.host(2).inside(|| TcpListener::bind("10.9.0.2:0").unwrap());
        let address = listener.local_addr().unwrap();
        let mut stream = lab.host(1).inside(|| TcpStream::connect(address).unwrap());
        let sent: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8).collect();
        let began = Instant::now();
        let receiver = std::thread::spawn(move || {
            let mut received = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
            received
        });
        stream.write_all(&sent).unwrap();
        drop(stream);
        assert!(receiver.join().unwrap() == sent, "something else arrived");
        began.elapsed()
    };
    let plain = send(64 << 20);
    delay::set(&socket, &far(Shape { delay: ms(1), jitter: ms(1), rate: None })).unwrap();
    let far_away = send(64 << 20);
    println!("64 MiB: {plain:?} over the bridge, {far_away:?} with a delay of 1 ms +- 1 ms");
    // 2 Mbit at 4 Mbit/s.
    delay::set(&socket, &far(Shape { rate: NonZeroU64::new(4_000_000), ..Shape::default() })).unwrap();
    assert!(send(250_000) >= ms(450));
}
