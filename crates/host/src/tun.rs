//! A network device whose other end is this process (`/dev/net/tun`, the kernel's `tuntap.rst`): what is routed to it is read here, and
//! what is written here arrives from it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// The device. It is gone when this is dropped.
#[derive(Debug)]
pub struct Tun(OwnedFd);

impl Tun {
    /// A new device of this name, for IP packets without a header of its own. Reading and writing do not block.
    ///
    /// # Errors
    /// Where there is no `/dev/net/tun`, without the right to administer this network (`CAP_NET_ADMIN`), and with a name that is
    /// taken or longer than the kernel's 15 bytes.
    pub fn create(name: &str) -> io::Result<Self> {
        // The kernel ends a name with a 0.
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        // SAFETY: The struct is made of integers and a union of such, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let kind = libc::IFF_TUN | libc::IFF_NO_PI;
        request.ifr_ifru.ifru_flags = i16::try_from(kind).map_err(io::Error::other)?;
        // SAFETY: The descriptor is open, and TUNSETIFF reads and writes an ifreq, which outlives the call.
        let status = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if status == 0 { Ok(Self(file)) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes one packet that was routed to the device.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buffer)?)
    }

    /// Lets one packet arrive from the device.
    ///
    /// # Errors
    /// `InvalidInput` when it is no IP packet; `HostDown`, as the kernel's EIO, while the device is down.
    pub fn write(&self, packet: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, packet)?)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_could_not_hold_is_refused() {
        for name in ["", "sixteen-bytes-xx"] {
            assert_eq!(Tun::create(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
