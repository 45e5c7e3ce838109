//! What a server and its keeper say to each other: one packet each, of a few bytes, and descriptors with it.
//!
//! What may be long travels in memory files, which are descriptors too. So a packet always fits, and is sent as a whole
//! or not at all.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{SessionId, message::ExitStatus};

/// The version of what is said here. A server and a keeper of different ones have nothing to say to each other.
pub(crate) const VERSION: u32 = 1;

/// The longest packet, in bytes.
const MAX_PACKET: usize = 128;

/// The most descriptors in one.
const MAX_DESCRIPTORS: usize = 5;

/// What a server says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToKeeper {
    /// Start a program. With its terminal's master and slave, the [words](super::ProgramWords) that it is started by,
    /// its session's state, and its marks.
    Start { session: SessionId },
    /// Take over a program that another keeper started. With its process, its terminal's master, its session's state,
    /// and its marks.
    Adopt { session: SessionId, pid: u32 },
    /// This is a session's state from now on. With it.
    State { session: SessionId },
    /// Which session is the first, or the one after that?
    List { after: Option<SessionId> },
    /// Hold this for the server that comes next: the socket that it listens on, its lock, and what it has to know
    /// beside the sessions. The file of the socket is the server's to remove, or not.
    Hold { is_ours: bool },
    /// What was held?
    Claim,
    /// This server ends, and no other is to have what is left: once it has gone, all sessions are forgotten.
    Last,
    /// Close the session's terminal.
    Close { session: SessionId },
    /// Forget the session: its terminal is closed, and how it ended is nobody's question any more.
    Forget { session: SessionId },
}

/// What a keeper says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromKeeper {
    /// The first word to every server.
    Hello { version: u32, pid: u32 },
    /// A program runs. With its process.
    Started { session: SessionId, pid: u32 },
    /// A program could not be started, for the system's reason.
    NotStarted { session: SessionId, errno: i32 },
    /// A session. With its process, its terminal's master, its state, and its marks.
    Listed { session: SessionId, pid: u32 },
    /// There are no more.
    ListEnd,
    /// What the server before has left: the socket that it listened on, its lock, and what is to be known beside the
    /// sessions; if it left that.
    Held { is_ours: bool },
    /// A program has ended. Its number is nobody else's until the session is forgotten.
    Ended { session: SessionId, status: ExitStatus },
}

/// Sends a packet, without waiting.
pub(crate) fn send(
    socket: impl AsFd,
    packet: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = postcard::to_stdvec(packet).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, flags))?;
    Ok(())
}

/// Receives a packet and its descriptors, without waiting; `None` once the other side has gone. Descriptors are missing
/// if this process may have no more.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = [0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)
    });
    let received = match received {
        Err(Errno::CONNRESET) => return Ok(None),
        received => received?,
    };
    let descriptors: Vec<_> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let packet = postcard::from_bytes(&bytes[..received.bytes]).map_err(io::Error::other)?;
    Ok(Some((packet, descriptors)))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_packet_arrives_with_its_descriptors_and_an_end_is_told() {
        let (one, other) = pair();
        let session = SessionId::random();
        let said = ToKeeper::Adopt { session, pid: u32::MAX };
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::pwrite(&file, b"hello", 0).unwrap();
        send(&one, &said, &[file.as_fd(); MAX_DESCRIPTORS]).unwrap();
        send(&one, &ToKeeper::List { after: None }, &[]).unwrap();
        drop((one, file));
        let (heard, descriptors) = receive::<ToKeeper>(&other).unwrap().unwrap();
        assert_eq!((heard, descriptors.len()), (said, MAX_DESCRIPTORS));
        let mut text = [0; 8];
        assert_eq!(rustix::io::pread(&descriptors[4], &mut text, 0), Ok(5));
        assert_eq!(receive::<ToKeeper>(&other).unwrap().unwrap().0, ToKeeper::List { after: None });
        assert!(receive::<ToKeeper>(&other).unwrap().is_none());
    }

    #[test]
    fn what_is_no_packet_is_an_error_and_nothing_is_waited_for() {
        let (one, other) = pair();
        assert_eq!(receive::<ToKeeper>(&other).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for wrong in [&[255; 8][..], &[0], &[0; MAX_PACKET + 1]] {
            rustix::net::send(&one, wrong, SendFlags::empty()).unwrap();
            assert!(receive::<ToKeeper>(&other).is_err(), "{wrong:?}");
        }
    }
}
