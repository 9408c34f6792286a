//! BPF: a device program for cgroups, and a classic filter for seccomp.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use serde_json::Value;

use super::{At as _, Stuck, Tried};

const BPF_PROG_LOAD: i64 = 5;
const BPF_PROG_ATTACH: i64 = 8;
const BPF_PROG_DETACH: i64 = 9;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// The kernel reads the attributes of bpf(2) as this many bytes; the rest of the union is zero.
const ATTRIBUTES: usize = 72;

fn bpf(command: i64, attributes: &[u8; ATTRIBUTES]) -> Result<i64, Errno> {
    // SAFETY: the kernel reads ATTRIBUTES bytes from `attributes`; what these point to outlives the call.
    Errno::result(unsafe { nix::libc::syscall(nix::libc::SYS_bpf, command, attributes.as_ptr(), ATTRIBUTES) })
}

/// Loads a program that allows every device, attaches it to a cgroup and detaches it.
pub(super) fn attach_device_program(cgroup: RawFd) -> Result<(), Stuck> {
    // r0 = 1; exit
    let program: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];
    let license = b"Apache-2.0\0";
    let mut load = [0; ATTRIBUTES];
    load[0..4].copy_from_slice(&BPF_PROG_TYPE_CGROUP_DEVICE.to_ne_bytes());
    load[4..8].copy_from_slice(&2_u32.to_ne_bytes());
    load[8..16].copy_from_slice(&(program.as_ptr() as u64).to_ne_bytes());
    load[16..24].copy_from_slice(&(license.as_ptr() as u64).to_ne_bytes());
    let fd = bpf(BPF_PROG_LOAD, &load).at("loading a device program")?;
    let fd = RawFd::try_from(fd).map_err(|_| Stuck { stage: "loading a device program", errno: Errno::EBADF })?;
    // SAFETY: the kernel has just given us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut attach = [0; ATTRIBUTES];
    attach[0..4].copy_from_slice(&cgroup.to_ne_bytes());
    attach[4..8].copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    attach[8..12].copy_from_slice(&BPF_CGROUP_DEVICE.to_ne_bytes());
    bpf(BPF_PROG_ATTACH, &attach).at("attaching a device program")?;
    bpf(BPF_PROG_DETACH, &attach).at("detaching a device program")?;
    Ok(())
}

/// Installs a filter that refuses getpgid(2), and sees it refused.
pub(super) fn seccomp() -> Tried {
    let call = u32::try_from(nix::libc::SYS_getpgid).unwrap_or(u32::MAX);
    let refuse = nix::libc::SECCOMP_RET_ERRNO | nix::libc::ERANGE.cast_unsigned();
    // Load the call's number; if it is ours skip nothing, else skip one; refuse; allow.
    let step = |code: u16, jt: u8, jf: u8, k: u32| nix::libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, call),
        step(0x06, 0, 0, refuse),
        step(0x06, 0, 0, nix::libc::SECCOMP_RET_ALLOW),
    ];
    let program = nix::libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: plain system calls; `program` outlives them. The filter holds for this process, which ends soon.
    unsafe {
        Errno::result(nix::libc::prctl(nix::libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).at("giving up new privileges")?;
        let installed = nix::libc::prctl(nix::libc::PR_SET_SECCOMP, nix::libc::SECCOMP_MODE_FILTER, &raw const program);
        Errno::result(installed).at("installing a filter")?;
    }
    // SAFETY: a plain system call.
    match Errno::result(unsafe { nix::libc::getpgid(0) }) {
        Err(Errno::ERANGE) => Ok(Value::Null),
        _ => Err(Stuck { stage: "having a call refused", errno: Errno::EINVAL }),
    }
}
