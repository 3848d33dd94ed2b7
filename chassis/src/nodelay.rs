//! Turns Nagle's algorithm off on connections to PostgreSQL.
//!
//! Because: a COPY ends with a message of five bytes, sent apart from its rows; with the algorithm on it waits some 40 ms for an acknowledgement that
//! the other side delays as long. The database library turned it off until 0.8, leaves it on in 0.9.0, and turns it off again in the release after;
//! once that is here, this file goes. The library does not give its sockets away, so they are found among the descriptors of this process: each is
//! duplicated, by sending it over a pair of sockets and receiving it as one that is owned.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Where the descriptors of this process are listed.
const DESCRIPTORS: &str = "/dev/fd";

/// Turns it off on every connection of this process to a port; answers how many it has.
pub fn set(port: u16) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(DESCRIPTORS)? {
        let Ok(entry) = entry else { continue };
        let is_socket = |target: std::path::PathBuf| target.to_string_lossy().starts_with("socket:");
        // One that was closed in the meantime, or is no socket, is none of ours.
        let Ok(true) = fs::read_link(entry.path()).map(is_socket) else { continue };
        let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        let Ok(Some(descriptor)) = duplicate(descriptor) else { continue };
        let stream = TcpStream::from(descriptor);
        if stream.peer_addr().is_ok_and(|peer| peer.port() == port) {
            stream.set_nodelay(true)?;
            count += 1;
        }
    }
    Ok(count)
}

fn duplicate(descriptor: RawFd) -> io::Result<Option<OwnedFd>> {
    let (near, far) = UnixStream::pair()?;
    let sent = [ControlMessage::ScmRights(&[descriptor])];
    sendmsg::<()>(near.as_raw_fd(), &[IoSlice::new(&[0])], &sent, MsgFlags::empty(), None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&far, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn every_connection_to_the_port_and_no_other_sends_at_once() {
        let database = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = TcpStream::connect(database.local_addr().unwrap()).unwrap();
        let second = TcpStream::connect(database.local_addr().unwrap()).unwrap();
        let elsewhere = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        assert_eq!(set(database.local_addr().unwrap().port()).unwrap(), 2);
        assert!(first.nodelay().unwrap() && second.nodelay().unwrap());
        assert!(!elsewhere.nodelay().unwrap());
    }
}
