//! `seaworthy listen`: answers on ports that nothing else uses, for a while.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anstream::eprintln;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{Answer, LARGEST, QUESTION, Question};
use super::show::{self, Heard, Listened};
use super::{ListenOptions, Port, Transport, holder, socket};
use crate::fault::Fault;
use crate::{answer, signals};

/// How long a connection may take from end to end.
const PATIENCE: Duration = Duration::from_secs(12);

/// The most connections at once, and the most answers by UDP in a second.
const CONNECTIONS: usize = 128;
const ANSWERS: u32 = 500;

/// A socket that is listened on.
enum Ear {
    Tcp(TcpListener, Port),
    Udp(UdpSocket, Port, u32),
}

impl Ear {
    fn port(&self) -> Port {
        match self {
            Self::Tcp(_, port) | Self::Udp(_, port, _) => *port,
        }
    }
}

/// What all connections share.
struct Desk {
    told: Answer,
    heard: Mutex<BTreeMap<IpAddr, BTreeMap<String, u32>>>,
    open: AtomicUsize,
}

impl Desk {
    fn note(&self, peer: SocketAddr, port: Port) {
        let mut heard = self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A peer that comes from ever new addresses must not fill the memory.
        if heard.len() < 1000 || heard.contains_key(&plain(peer.ip())) {
            *heard.entry(plain(peer.ip())).or_default().entry(port.to_string()).or_default() += 1;
        }
    }

    /// The answer to a question that came to an interface with this MTU.
    fn answer(&self, question: Question, mtu: u32) -> Answer {
        let time = jiff::Timestamp::now().as_microsecond();
        Answer { nonce: question.nonce, time, mtu, ..self.told.clone() }
    }
}

/// IPv4 as IPv4, also from a socket of both families.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Runs `seaworthy listen`.
pub(crate) fn listen(options: &ListenOptions) -> Result<i32, Fault> {
    signals::listen();
    let (mut ears, mut busy, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for port in options.ports.ports()? {
        match open(port, &options.addresses) {
            Ok(opened) => ears.extend(opened),
            Err(error) if error.kind() == ErrorKind::AddrInUse => busy.push((port, holder::holder(port))),
            Err(error) => refused.push((port, error.to_string())),
        }
    }
    let mut open: Vec<_> = ears.iter().map(Ear::port).collect();
    open.dedup();
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for (port, who) in &busy {
        eprintln!("{port} is in use by {who}: it is not listened on");
    }
    for (port, why) in &refused {
        eprintln!("{port} cannot be listened on: {why}");
    }
    if ears.is_empty() {
        let all: Vec<_> = busy.iter().map(|(port, who)| format!("{port} is in use by {who}")).collect();
        return Err(Fault::usage(format!("there is no port to listen on: {}", all.join(", "))).hint(
            "name unused ports with --port, or run `seaworthy reach` without it: a port that is in use answers, too",
        ));
    }
    let shown: Vec<_> = open.iter().map(ToString::to_string).collect();
    eprintln!("{name} listens on {} for {} minutes; Ctrl-C ends it", shown.join(", "), options.minutes);
    let desk = Arc::new(Desk {
        told: Answer { host: name.clone(), open: open.clone(), busy: busy.clone(), ..Answer::default() },
        heard: Mutex::default(),
        open: AtomicUsize::new(0),
    });
    serve(&ears, &desk, Instant::now() + Duration::from_secs(60 * u64::from(options.minutes)))?;
    let heard = desk.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let listened = Listened {
        host: name,
        open: shown,
        busy: busy.into_iter().map(|(port, who)| (port.to_string(), who)).collect(),
        refused: refused.into_iter().map(|(port, why)| (port.to_string(), why)).collect(),
        heard: heard.iter().map(|(peer, ports)| Heard { peer: *peer, ports: ports.clone() }).collect(),
    };
    answer::print(&show::listened(&listened, options.output)?);
    Ok(0)
}

/// Binds a port. TCP takes all addresses at once; of UDP each address has a socket, so that an answer comes from the
/// address that was asked.
fn open(port: Port, addresses: &[IpAddr]) -> io::Result<Vec<Ear>> {
    let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    match port.transport {
        Transport::Tcp if addresses.is_empty() => {
            // The wildcard of IPv6 takes IPv4, too; without IPv6 in the kernel, that of IPv4 does.
            let listener = TcpListener::bind((all[0], port.number)).or_else(|error| match error.kind() {
                ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
                _ => TcpListener::bind((all[1], port.number)),
            })?;
            listener.set_nonblocking(true)?;
            Ok(vec![Ear::Tcp(listener, port)])
        }
        Transport::Tcp => addresses
            .iter()
            .map(|address| {
                let listener = TcpListener::bind((*address, port.number))?;
                listener.set_nonblocking(true)?;
                Ok(Ear::Tcp(listener, port))
            })
            .collect(),
        Transport::Udp => {
            let own = if addresses.is_empty() {
                socket::addresses().into_iter().map(|(address, _)| address).collect()
            } else {
                addresses.to_vec()
            };
            own.into_iter()
                .map(|address| {
                    let udp = UdpSocket::bind((address, port.number))?;
                    udp.set_nonblocking(true)?;
                    socket::whole_packets(&udp)?;
                    Ok(Ear::Udp(udp, port, socket::mtu(address).unwrap_or(0)))
                })
                .collect()
        }
    }
}

fn serve(ears: &[Ear], desk: &Arc<Desk>, end: Instant) -> Result<(), Fault> {
    let mut room = (Instant::now(), ANSWERS);
    while signals::seen().is_none() && Instant::now() < end {
        let mut descriptors: Vec<_> = ears
            .iter()
            .map(|ear| match ear {
                Ear::Tcp(listener, _) => PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                Ear::Udp(udp, ..) => PollFd::new(udp.as_fd(), PollFlags::POLLIN),
            })
            .collect();
        match poll(&mut descriptors, PollTimeout::from(200_u16)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Fault::ours(format!("poll: {}", errno.desc()))),
        }
        let ready: Vec<_> = descriptors.iter().map(|ready| ready.any().unwrap_or(false)).collect();
        for (ear, _) in ears.iter().zip(ready).filter(|(_, ready)| *ready) {
            match ear {
                Ear::Tcp(listener, port) => accept(listener, *port, desk),
                Ear::Udp(udp, port, mtu) => {
                    if room.0.elapsed() >= Duration::from_secs(1) {
                        room = (Instant::now(), ANSWERS);
                    }
                    reply(udp, *port, *mtu, desk, &mut room.1);
                }
            }
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, port: Port, desk: &Arc<Desk>) {
    let Ok((stream, peer)) = listener.accept() else { return };
    if desk.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
        desk.open.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    let kept = desk.clone();
    let begun = std::thread::Builder::new().spawn(move || {
        if converse(stream, &kept).is_ok() {
            kept.note(peer, port);
        }
        kept.open.fetch_sub(1, Ordering::SeqCst);
    });
    if begun.is_err() {
        desk.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers one question on a connection.
fn converse(mut stream: TcpStream, desk: &Desk) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let local = plain(stream.local_addr()?.ip());
    let mut bytes = vec![0; QUESTION];
    let read = |stream: &mut TcpStream, buffer: &mut [u8]| -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut buffer[filled..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    };
    read(&mut stream, &mut bytes)?;
    let question = Question::read(&bytes).ok_or(ErrorKind::InvalidData)?;
    let mut rest = vec![0; question.size.min(LARGEST) - QUESTION];
    read(&mut stream, &mut rest)?;
    let size = if question.whole { question.size } else { QUESTION };
    stream.write_all(&desk.answer(question, socket::mtu(local).unwrap_or(0)).bytes(size))
}

/// Answers the questions that wait at a socket of UDP.
fn reply(udp: &UdpSocket, port: Port, mtu: u32, desk: &Desk, room: &mut u32) {
    let mut buffer = vec![0; 1 << 16];
    // A bounded number, so that other sockets have their turn.
    for _ in 0..64 {
        let Ok((size, peer)) = udp.recv_from(&mut buffer) else { return };
        let question = Question::read(&buffer[..size]).filter(|question| question.size == size);
        let Some(question) = question.filter(|_| *room > 0) else { continue };
        *room -= 1;
        let answer = desk.answer(question, mtu);
        let short = answer.bytes(QUESTION);
        let sent = if question.whole { udp.send_to(&answer.bytes(size), peer) } else { udp.send_to(&short, peer) };
        // Our own interface does not take what theirs did: that is worth an answer.
        if sent.is_err_and(|error| error.raw_os_error() == Some(nix::libc::EMSGSIZE)) {
            let _ = udp.send_to(&Answer { cut: true, ..answer }.bytes(QUESTION), peer);
        }
        desk.note(peer, port);
    }
}
