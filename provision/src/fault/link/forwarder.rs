//! Carries frames between the segments of the switch, late: one thread, which sleeps until a frame arrives or is due.
//!
//! Frames of one path keep their order. What cannot be carried (a full queue, a device that is down) is dropped, as a
//! wire would.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::delay::Shape;

/// The virtio-net header before each frame.
const HEADER: usize = 10;

/// A frame of the largest size that segmentation offload makes, with its headers.
const LARGEST: usize = HEADER + 65_536 + 64;

/// So many frames are taken from one device before the next has its turn.
const TURN: usize = 64;

/// What may wait on one path, in bytes; a second of 500 Mbit/s.
const WAITING: usize = 64 << 20;

/// How long a frame may wait for a narrow link to be free; longer queues are dropped at the tail.
const NARROW: Duration = Duration::from_millis(200);

/// More addresses than this are not remembered; their frames go to all segments.
const ADDRESSES: usize = 16_384;

/// The shape of each path by (from, to).
pub(super) type Shapes = HashMap<(usize, usize), Shape>;

/// The thread that carries; it ends when this value does, and what it carries at that time is lost.
pub(super) struct Forwarder {
    shapes: Arc<Mutex<Shapes>>,
    /// The thread ends when this end is closed.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    pub(super) fn start(taps: Vec<File>, shapes: Shapes) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let shapes = Arc::new(Mutex::new(shapes));
        let seen = shapes.clone();
        let thread = std::thread::Builder::new().name("forwarder".to_owned()).spawn(move || {
            run(&taps, &seen, &stopped);
        })?;
        Ok(Self { shapes, stop: Some(stop), thread: Some(thread) })
    }

    /// Frames that arrive from now on are carried so; those under way keep their time.
    pub(super) fn reshape(&self, shapes: Shapes) {
        *self.shapes.lock().unwrap_or_else(PoisonError::into_inner) = shapes;
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn run(taps: &[File], shapes: &Mutex<Shapes>, stopped: &PipeReader) {
    let mut wires = Wires::new(taps.len());
    let mut buffer = vec![0; LARGEST];
    loop {
        let now = Instant::now();
        let wait = wires.next().map(|due| TimeSpec::from_duration(due.saturating_duration_since(now)));
        let mut polled: Vec<_> = taps.iter().map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN)).collect();
        polled.push(PollFd::new(stopped.as_fd(), PollFlags::POLLIN));
        if ppoll(&mut polled, wait, None).is_err() {
            continue;
        }
        let ready: Vec<_> = polled.iter().map(|one| one.any().unwrap_or(false)).collect();
        if ready[taps.len()] {
            return;
        }
        {
            let shapes = shapes.lock().unwrap_or_else(PoisonError::into_inner);
            for (from, mut tap) in taps.iter().enumerate().filter(|&(from, _)| ready[from]) {
                for _ in 0..TURN {
                    let Ok(length) = tap.read(&mut buffer) else { break };
                    wires.take(from, &buffer[..length], &shapes, Instant::now());
                }
            }
        }
        wires.deliver(Instant::now(), |to, frame| {
            // A device that does not take it now has lost it.
            nix::unistd::write(&taps[to], frame).ok();
        });
    }
}

/// What is under way, and which segment each address was seen on.
struct Wires {
    segments: usize,
    /// By (from, to), row by row.
    queues: Vec<Queue>,
    addresses: HashMap<[u8; 6], usize>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// When the link will have sent all that it was given, if it is a narrow one.
    free: Option<Instant>,
}

impl Wires {
    fn new(segments: usize) -> Self {
        let queues = std::iter::repeat_with(Queue::default).take(segments * segments).collect();
        Self { segments, queues, addresses: HashMap::new() }
    }

    /// Takes a frame that came from a segment: to the one where its receiver was seen last, or to all others.
    fn take(&mut self, from: usize, frame: &[u8], shapes: &Shapes, now: Instant) {
        let Some((receiver, rest)) = frame.get(HEADER..).and_then(|ethernet| ethernet.split_first_chunk::<6>()) else {
            return;
        };
        let Some(sender) = rest.first_chunk::<6>() else { return };
        if self.addresses.len() < ADDRESSES || self.addresses.contains_key(sender) {
            self.addresses.insert(*sender, from);
        }
        let known = self.addresses.get(receiver).copied();
        for to in known.map_or(0..self.segments, |to| to..to + 1).filter(|&to| to != from) {
            let shape = shapes.get(&(from, to)).copied().unwrap_or_default();
            self.queues[from * self.segments + to].push(frame, shape, now);
        }
    }

    /// When the next frame is due.
    fn next(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| queue.frames.front()).map(|(due, _)| *due).min()
    }

    /// Hands out every frame that is due.
    fn deliver(&mut self, now: Instant, mut to: impl FnMut(usize, &[u8])) {
        for (path, queue) in self.queues.iter_mut().enumerate() {
            while let Some((_, frame)) = queue.frames.pop_front_if(|(due, _)| *due <= now) {
                queue.bytes -= frame.len();
                to(path % self.segments, &frame);
            }
        }
    }
}

impl Queue {
    fn push(&mut self, frame: &[u8], shape: Shape, now: Instant) {
        let mut sent = now;
        if let Some(rate) = shape.rate {
            let begins = self.free.unwrap_or(now).max(now);
            if begins - now > NARROW {
                return;
            }
            let bits = (frame.len() - HEADER) as f64 * 8.0;
            sent = begins + Duration::from_secs_f64(bits / rate.get() as f64);
            self.free = Some(sent);
        }
        if self.bytes + frame.len() > WAITING {
            return;
        }
        // Uniform from delay - jitter to delay + jitter, never below none at all.
        let swing = shape.jitter.mul_f64(2.0 * fastrand::f64());
        let due = sent + (shape.delay + swing).saturating_sub(shape.jitter);
        // None overtakes the one before it.
        let due = self.frames.back().map_or(due, |(last, _)| due.max(*last));
        self.bytes += frame.len();
        self.frames.push_back((due, frame.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn frame(to: u8, from: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0; HEADER];
        frame.extend([2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from]);
        frame.resize(HEADER + length, 0);
        frame
    }

    fn delivered(wires: &mut Wires, now: Instant) -> Vec<(usize, Vec<u8>)> {
        let mut out = Vec::new();
        wires.deliver(now, |to, frame| out.push((to, frame.to_vec())));
        out
    }

    #[test]
    fn a_frame_comes_late_and_where_its_receiver_was_seen() {
        let (mut wires, now) = (Wires::new(3), Instant::now());
        let ms = Duration::from_millis;
        let shapes: Shapes = [((0, 2), Shape { delay: ms(20), ..Shape::default() })].into();
        // Nobody knows host 7 yet: to both others, each in its time.
        wires.take(0, &frame(7, 1, 60), &shapes, now);
        assert_eq!(delivered(&mut wires, now).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [1]);
        assert_eq!(wires.next(), Some(now + ms(20)));
        assert!(delivered(&mut wires, now + ms(19)).is_empty());
        assert_eq!(delivered(&mut wires, now + ms(20)).len(), 1);
        // It answers from segment 2, so frames for it go there alone, and its answer goes to segment 0 alone.
        wires.take(2, &frame(1, 7, 60), &shapes, now);
        assert_eq!(delivered(&mut wires, now).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [0]);
        wires.take(0, &frame(7, 1, 60), &shapes, now);
        assert_eq!(delivered(&mut wires, now + ms(20)).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2]);
        // Within a segment its bridge carries.
        wires.take(2, &frame(7, 8, 60), &shapes, now);
        wires.take(2, &[0; 15], &shapes, now);
        assert_eq!(wires.next(), None);
    }

    #[test]
    fn no_frame_overtakes_another_whatever_the_jitter() {
        let (mut wires, now) = (Wires::new(2), Instant::now());
        let shape = Shape { delay: Duration::from_millis(5), jitter: Duration::from_millis(20), rate: None };
        let shapes: Shapes = [((0, 1), shape)].into();
        for number in 0..200 {
            wires.take(0, &frame(9, number, 60), &shapes, now);
        }
        assert!(delivered(&mut wires, now).len() < 200);
        let late = delivered(&mut wires, now + Duration::from_millis(25));
        assert!(late.is_sorted_by_key(|(_, frame)| frame[HEADER + 11]));
        assert_eq!(wires.queues[1].bytes, 0);
    }

    #[test]
    fn a_narrow_link_sends_one_frame_after_the_other_and_drops_the_tail() {
        let (mut wires, now) = (Wires::new(2), Instant::now());
        // 1,000 bytes take 10 ms.
        let shape = Shape { rate: NonZeroU64::new(800_000), ..Shape::default() };
        let shapes: Shapes = [((0, 1), shape)].into();
        for _ in 0..100 {
            wires.take(0, &frame(9, 1, 1000), &shapes, now);
        }
        let after = |ms| now + Duration::from_millis(ms);
        assert!(delivered(&mut wires, after(9)).is_empty());
        assert_eq!(delivered(&mut wires, after(10)).len(), 1);
        assert_eq!(delivered(&mut wires, after(100)).len(), 9);
        assert_eq!(delivered(&mut wires, after(5000)).len(), 11, "200 ms of them waited, and one was being sent");
    }
}
