//! `seaworthy reach`: asks peers that listen, port by port, and says how each fares.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant};

use super::protocol::{Answer, QUESTION, Question};
use super::show::{self, Asked, Clock, Fare, Mtu, Reached};
use super::{Port, ReachOptions, Transport, socket};
use crate::answer;
use crate::fault::Fault;

/// How long a connection may take: the kernel has asked three times by then.
const CONNECT: Duration = Duration::from_millis(3500);

/// How long an answer may take, and how often a question by UDP is asked.
const ANSWER: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;

/// How much goes over a connection both ways, to see whether full packets come through.
const BULK: usize = 64 << 10;

/// The smallest MTU that is looked for: what IPv6 demands of every link.
const SMALLEST: u32 = 1280;

/// The most peers, and the most addresses of one.
const PEERS: usize = 256;
const ADDRESSES: usize = 4;

/// Runs `seaworthy reach`.
pub(crate) fn reach(options: &ReachOptions) -> Result<i32, Fault> {
    let ports = options.ports.ports()?;
    if options.peers.len() > PEERS {
        return Err(Fault::usage(format!("{} peers are named, of {PEERS} at most", options.peers.len())));
    }
    let mut wanted = Vec::new();
    for peer in &options.peers {
        let found = resolve(peer).map_err(|why| {
            Fault::usage(format!("{peer} cannot be resolved: {why}"))
                .hint("name the peer by its address, or fix /etc/hosts or DNS")
        })?;
        wanted.extend(found.into_iter().map(|address| (peer.clone(), address)));
    }
    let asked: Vec<_> = std::thread::scope(|scope| {
        let ask = |(peer, address): &(String, IpAddr)| {
            let (peer, address, ports) = (peer.clone(), *address, &ports);
            scope.spawn(move || ask(peer, address, ports, options.clock))
        };
        let hands: Vec<_> = wanted.iter().map(ask).collect();
        hands.into_iter().filter_map(|hand| hand.join().ok()).collect()
    });
    if asked.len() < wanted.len() {
        return Err(Fault::ours("a defect of seaworthy: a peer could not be asked"));
    }
    let reached = Reached::of(asked);
    answer::print(&show::reached(&reached, options.output)?);
    Ok(reached.exit_code)
}

/// The addresses of a peer, each once.
fn resolve(peer: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = peer.trim_matches(['[', ']']).parse() {
        return Ok(vec![address]);
    }
    let found = (peer, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// A connection that opened, or how it failed, with the time that it took.
enum Knock {
    Opened(TcpStream, Duration),
    Failed(Fare),
}

/// Asks one address of a peer everything.
fn ask(peer: String, address: IpAddr, ports: &[Port], clock: u32) -> Asked {
    let of = |transport| ports.iter().copied().filter(move |port| port.transport == transport);
    // All ports at once: those that drop what is sent take long, and there are few.
    let (knocks, mut answers) = std::thread::scope(|scope| {
        let tcp: Vec<_> = of(Transport::Tcp)
            .map(|port| (port, scope.spawn(move || knock(SocketAddr::new(address, port.number)))))
            .collect();
        let udp: Vec<_> = of(Transport::Udp)
            .map(|port| (port, scope.spawn(move || datagram(SocketAddr::new(address, port.number)))))
            .collect();
        let died = |_| Fare::Failed { why: "a defect of seaworthy".to_owned() };
        let knocks: Vec<_> = tcp
            .into_iter()
            .map(|(port, hand)| (port, hand.join().map_err(died).unwrap_or_else(Knock::Failed)))
            .collect();
        let answers: Vec<_> =
            udp.into_iter().map(|(port, hand)| (port, hand.join().map_err(died).and_then(|fare| fare))).collect();
        (
            knocks,
            answers
                .into_iter()
                .map(|(port, fare)| (port, fare.map_or_else(|fare| (fare, None), |said| (said.fare(), Some(said)))))
                .collect::<Vec<_>>(),
        )
    });
    let mut told: Option<Said> = answers.iter().find_map(|(_, (_, said))| said.clone());
    let mut silent = 0;
    for (port, knock) in knocks {
        let fare = match knock {
            Knock::Failed(fare) => (fare, None),
            Knock::Opened(stream, took) => {
                let busy = told.as_ref().and_then(|said| said.answer.user(port));
                if let Some(who) = busy {
                    (Fare::InUse { by: Some(who.to_owned()) }, None)
                } else if silent >= 2 {
                    // Two that are not ours: whoever else listens need not be asked what it does not understand.
                    (Fare::InUse { by: None }, None)
                } else {
                    match converse(stream, QUESTION, false, ANSWER) {
                        Ok(said) => (Fare::Open { milliseconds: millis(took) }, Some(said)),
                        Err(_) => {
                            silent += 1;
                            (Fare::InUse { by: None }, None)
                        }
                    }
                }
            }
        };
        if told.is_none() {
            told.clone_from(&fare.1);
        }
        answers.push((port, fare));
    }
    answers.sort_by_key(|(port, _)| *port);
    let said: Vec<_> = answers.iter().filter_map(|(_, (_, said))| said.clone()).collect();
    let open = |transport: Transport| {
        let is_open = |(port, (fare, _)): &&(Port, (Fare, Option<Said>))| {
            port.transport == transport && matches!(fare, Fare::Open { .. })
        };
        answers.iter().find(is_open).map(|(port, _)| SocketAddr::new(address, port.number))
    };
    let mtu = told.as_ref().map(|told| Mtu {
        interface: local(address).and_then(socket::mtu),
        peer: Some(told.answer.mtu).filter(|mtu| *mtu > 0),
        path: open(Transport::Udp).and_then(path_mtu),
        stalls: open(Transport::Tcp).is_some_and(stalls),
    });
    let clock = Clock::of(said.iter().map(|said| (said.offset, said.round_trip)), clock);
    let host = told.as_ref().map(|told| told.answer.host.clone()).filter(|host| !host.is_empty());
    let known = host.as_deref().map(|host| resolve(host).unwrap_or_default());
    let fares = answers.into_iter().map(|(port, (fare, _))| (port, explain(port, fare, told.as_ref()))).collect();
    Asked { peer, address, host, known, ports: fares, mtu, clock }
}

/// What a listener tells of a port that it was not reached on.
fn explain(port: Port, fare: Fare, told: Option<&Said>) -> Fare {
    let Some(Said { answer, .. }) = told else { return fare };
    let unreached = matches!(fare, Fare::Refused { .. } | Fare::Dropped { .. });
    match (fare, answer.user(port)) {
        // UDP of others does not answer, and a service on a loopback address refuses.
        (_, Some(who)) if unreached => Fare::InUse { by: Some(who.to_owned()) },
        (Fare::Refused { .. }, None) if answer.listens(port.transport, port.number) => Fare::Refused { listened: true },
        (_, None) if unreached && !answer.listens(port.transport, port.number) => Fare::NotListened,
        (fare, _) => fare,
    }
}

/// What was said, when, and how long it took.
#[derive(Clone)]
struct Said {
    answer: Answer,
    /// How far the peer's clock is ahead, in microseconds.
    offset: i64,
    round_trip: Duration,
}

impl Said {
    fn of(answer: Answer, asked: jiff::Timestamp, round_trip: Duration) -> Self {
        // The peer looked at its clock about halfway.
        let half = i64::try_from(round_trip.as_micros() / 2).unwrap_or(0);
        let offset = answer.time.saturating_sub(asked.as_microsecond().saturating_add(half));
        Self { answer, offset, round_trip }
    }

    fn fare(&self) -> Fare {
        Fare::Open { milliseconds: millis(self.round_trip) }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

fn knock(address: SocketAddr) -> Knock {
    let begun = Instant::now();
    match TcpStream::connect_timeout(&address, CONNECT) {
        Ok(stream) => Knock::Opened(stream, begun.elapsed()),
        Err(error) => Knock::Failed(failed(&error, CONNECT)),
    }
}

/// How a port fares that an error was met at.
fn failed(error: &std::io::Error, patience: Duration) -> Fare {
    match error.kind() {
        ErrorKind::ConnectionRefused => Fare::Refused { listened: false },
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Fare::Dropped { seconds: patience.as_secs_f64() },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Fare::Rejected { why: error.to_string() },
        ErrorKind::PermissionDenied => {
            Fare::Rejected { why: "this machine's own firewall does not let it out".to_owned() }
        }
        _ => Fare::Failed { why: error.to_string() },
    }
}

/// One question and its answer over a connection.
fn converse(mut stream: TcpStream, size: usize, whole: bool, patience: Duration) -> std::io::Result<Said> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(patience))?;
    let question = Question { nonce: nonce(), size, whole };
    let (asked, begun) = (jiff::Timestamp::now(), Instant::now());
    let mut writing = stream.try_clone()?;
    // Beside the reading: neither side need hold all of it.
    std::thread::scope(|scope| {
        let written = scope.spawn(move || writing.write_all(&question.bytes()));
        let mut bytes = vec![0; if whole { size } else { QUESTION }];
        let mut filled = 0;
        while filled < bytes.len() {
            let left = (begun + patience).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut bytes[filled..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        let round_trip = begun.elapsed();
        written.join().map_err(|_| std::io::Error::other("a defect of seaworthy"))??;
        let answer =
            Answer::read(&bytes).filter(|answer| answer.nonce == question.nonce).ok_or(ErrorKind::InvalidData)?;
        Ok(Said::of(answer, asked, round_trip))
    })
}

/// A socket of UDP that only hears one peer.
fn towards(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let udp = UdpSocket::bind((any, 0))?;
    udp.connect(address)?;
    Ok(udp)
}

/// The address that this machine uses towards a peer.
fn local(peer: IpAddr) -> Option<IpAddr> {
    // Nothing is sent: only the route is looked up.
    Some(towards(SocketAddr::new(peer, 9)).ok()?.local_addr().ok()?.ip())
}

/// One question by UDP, asked up to three times.
fn datagram(address: SocketAddr) -> Result<Said, Fare> {
    let udp = towards(address).map_err(|error| failed(&error, ANSWER))?;
    let mut last = None;
    for _ in 0..TRIES {
        match exchange(&udp, QUESTION, false, ANSWER) {
            Ok(said) => return Ok(said),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or(Fare::Dropped { seconds: 0.0 }, |error| failed(&error, ANSWER * TRIES)))
}

fn exchange(udp: &UdpSocket, size: usize, whole: bool, patience: Duration) -> std::io::Result<Said> {
    let question = Question { nonce: nonce(), size, whole };
    let (asked, begun) = (jiff::Timestamp::now(), Instant::now());
    udp.send(&question.bytes())?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = (begun + patience).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        udp.set_read_timeout(Some(left))?;
        let count = udp.recv(&mut buffer)?;
        // What is late, or from someone else, is passed over.
        if let Some(answer) = Answer::read(&buffer[..count]).filter(|answer| answer.nonce == question.nonce) {
            return Ok(Said::of(answer, asked, begun.elapsed()));
        }
    }
}

/// The largest packet that comes through both ways; `None` if not even the smallest does, or none could be tried.
fn path_mtu(address: SocketAddr) -> Option<u32> {
    let udp = towards(address).ok()?;
    socket::whole_packets(&udp).ok()?;
    let headers = socket::headers(address.ip());
    let most = socket::mtu(udp.local_addr().ok()?.ip())?.min(u32::from(u16::MAX));
    let passes = |mtu: u32| {
        let size = usize::try_from(mtu - headers).unwrap_or(QUESTION);
        // Two tries: one packet may be lost for other reasons.
        (0..2).any(|_| exchange(&udp, size, true, Duration::from_millis(500)).is_ok_and(|said| !said.answer.cut))
    };
    if passes(most) {
        return Some(most);
    }
    let (mut low, mut high) = (SMALLEST.min(most), most);
    if !passes(low) {
        return None;
    }
    // What tunnels and clouds leave is tried first: most paths are one of these.
    for common in [8951, 8950, 1500, 1480, 1450, 1440, 1420, 1400] {
        if common > low && common < high {
            if passes(common) { low = common } else { high = common }
        }
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if passes(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

/// Does a connection open and then hang once full packets are sent? That is how an MTU that differs shows itself.
fn stalls(address: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&address, CONNECT) else { return false };
    converse(stream, BULK, true, Duration::from_secs(5))
        .is_err_and(|error| matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock))
}

fn nonce() -> u64 {
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), Instant::now())
}
