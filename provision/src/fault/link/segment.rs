//! The switch's devices: bridges, the ports on them, and TAP devices. All in the network namespace that the process is
//! in.

use std::collections::BTreeMap;
use std::ffi::c_short;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_ulong, ifreq};
use nix::net::if_::{if_nameindex, if_nametoindex};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Interface, exists};

// From linux/sockios.h; the libc crate has them for Android only.
const SIOCBRADDBR: c_ulong = 0x89a0;
const SIOCBRDELBR: c_ulong = 0x89a1;
const SIOCBRADDIF: c_ulong = 0x89a2;
const SIOCBRDELIF: c_ulong = 0x89a3;

/// What makes TAP devices; udev lets everybody use it.
const TUN: &str = "/dev/net/tun";
/// What the names of our bridges and TAP devices begin with.
const SEGMENT: &str = "segment";

nix::ioctl_write_ptr_bad!(bridge_add, SIOCBRADDBR, ifreq);
nix::ioctl_write_ptr_bad!(bridge_delete, SIOCBRDELBR, ifreq);
nix::ioctl_write_ptr_bad!(bridge_plug, SIOCBRADDIF, ifreq);
nix::ioctl_write_ptr_bad!(bridge_unplug, SIOCBRDELIF, ifreq);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, ifreq);
nix::ioctl_write_ptr_bad!(tun_set_interface, libc::TUNSETIFF, ifreq);
nix::ioctl_write_int_bad!(tun_set_offload, libc::TUNSETOFFLOAD);

/// Makes and joins devices.
pub(super) struct Devices(OwnedFd);

impl Devices {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?))
    }

    /// A bridge that is up; one that is there is taken as it is.
    pub(super) fn add_bridge(&self, bridge: &Interface) -> io::Result<()> {
        // SAFETY: the request reads a name of an interface, which an ifreq begins with.
        match unsafe { bridge_add(self.0.as_raw_fd(), &request(bridge)) } {
            Ok(_) | Err(Errno::EEXIST) => self.up(bridge),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes a bridge away; its ports stay, on no bridge.
    pub(super) fn delete_bridge(&self, bridge: &Interface) -> io::Result<()> {
        self.flags(bridge, 0)?;
        // SAFETY: as for adding.
        unsafe { bridge_delete(self.0.as_raw_fd(), &request(bridge)) }?;
        Ok(())
    }

    /// Puts a port on a bridge, where it may already be.
    pub(super) fn plug(&self, bridge: &Interface, port: &Interface) -> io::Result<()> {
        // SAFETY: the request reads the bridge's name and the port's index from an ifreq.
        match unsafe { bridge_plug(self.0.as_raw_fd(), &with_index(bridge, port)?) } {
            Ok(_) | Err(Errno::EBUSY) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes a port off a bridge, and says whether it was on it.
    pub(super) fn unplug(&self, bridge: &Interface, port: &Interface) -> io::Result<bool> {
        // SAFETY: as for plugging.
        match unsafe { bridge_unplug(self.0.as_raw_fd(), &with_index(bridge, port)?) } {
            Ok(_) => Ok(true),
            Err(Errno::EINVAL) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A TAP device on a bridge: what is read from it left the bridge, what is written enters it. It goes with the
    /// file.
    ///
    /// Every frame is preceded by a virtio-net header, so that frames which the sender's kernel left large and without
    /// checksum pass as they are.
    pub(super) fn tap(&self, bridge: &Interface, name: &Interface) -> io::Result<File> {
        let tap =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(TUN).map_err(|error| {
                io::Error::new(error.kind(), format!("{TUN}, which delays need, cannot be opened: {error}"))
            })?;
        let mut request = request(name);
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as c_short;
        let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        // SAFETY: TUNSETIFF reads name and flags from an ifreq; TUNSETOFFLOAD takes a number.
        unsafe {
            tun_set_interface(tap.as_raw_fd(), &request)?;
            tun_set_offload(tap.as_raw_fd(), offload.cast_signed())?;
        }
        self.plug(bridge, name)?;
        self.up(name)?;
        Ok(tap)
    }

    fn up(&self, interface: &Interface) -> io::Result<()> {
        // The switch has nothing to say itself. Where the kernel has no IPv6 it says nothing anyway.
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1").ok();
        self.flags(interface, libc::IFF_UP)
    }

    fn flags(&self, interface: &Interface, flags: i32) -> io::Result<()> {
        let mut request = request(interface);
        request.ifr_ifru.ifru_flags = flags as c_short;
        // SAFETY: the request reads name and flags from an ifreq.
        unsafe { set_flags(self.0.as_raw_fd(), &request) }?;
        Ok(())
    }
}

fn request(interface: &Interface) -> ifreq {
    // SAFETY: an ifreq of zeros is valid: an empty name and a union of plain numbers.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.name().bytes()) {
        *to = byte as c_char;
    }
    request
}

fn with_index(bridge: &Interface, port: &Interface) -> io::Result<ifreq> {
    let mut request = request(bridge);
    request.ifr_ifru.ifru_ifindex = if_nametoindex(port.name())?.cast_signed();
    Ok(request)
}

/// The segments' bridges and the TAP devices that join them to the forwarder.
pub(super) struct Segments {
    devices: Devices,
    main: Interface,
}

impl Segments {
    pub(super) fn new(main: Interface) -> io::Result<Self> {
        Ok(Self { devices: Devices::new()?, main })
    }

    /// The bridge of a segment; the first is the one that all ports are on when nothing is delayed.
    fn bridge(&self, number: usize) -> Interface {
        if number == 0 { self.main.clone() } else { named(format!("{SEGMENT}{number}")) }
    }

    /// A TAP device on each of so many segments, whose bridges are made.
    pub(super) fn open(&self, count: usize) -> io::Result<Vec<File>> {
        let open = |number| {
            let bridge = self.bridge(number);
            if number > 0 {
                self.devices.add_bridge(&bridge)?;
            }
            self.devices.tap(&bridge, &named(format!("{SEGMENT}{number}-tap")))
        };
        (0..count).map(open).collect()
    }

    /// Puts every port on its segment; one that is not named and on a segment is put back on the first. A named port
    /// that is not there, since its host is down, is on none.
    pub(super) fn arrange(&self, segments: &BTreeMap<Interface, usize>) -> io::Result<()> {
        for interface in &if_nameindex()? {
            let Ok(port) = interface.name().to_string_lossy().parse::<Interface>() else { continue };
            if port.name().starts_with(SEGMENT) {
                continue;
            }
            let segment = segments.get(&port).copied();
            let elsewhere = self.there().filter(|&other| other != segment.unwrap_or(0));
            let mut moves = segment.is_some();
            for other in elsewhere {
                moves |= self.devices.unplug(&self.bridge(other), &port)?;
            }
            if moves {
                self.devices.plug(&self.bridge(segment.unwrap_or(0)), &port)?;
            }
        }
        Ok(())
    }

    /// Takes away the bridges of the segments after the first so many.
    pub(super) fn close(&self, count: usize) -> io::Result<()> {
        let bridges: Vec<_> = self.there().skip(count).map(|number| self.bridge(number)).collect();
        bridges.iter().try_for_each(|bridge| self.devices.delete_bridge(bridge))
    }

    /// The segments that have a bridge, also those that a process which was killed left behind.
    fn there(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain((1..).take_while(|&number| exists(&self.bridge(number))))
    }
}

/// A name that we make up.
#[expect(clippy::expect_used, reason = "seven letters and a number of hosts fit into 15 bytes")]
fn named(name: String) -> Interface {
    name.parse().expect("a short name")
}
