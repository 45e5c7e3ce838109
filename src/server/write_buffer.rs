//! What a writer is about to write: frames and pieces of output, handed to the kernel in one vectored write, without
//! copying a payload.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use tokio::net::UnixStream;

use crate::wire::{Header, Kind, MAX_OUTPUT};

/// The most slices in one system call; a gathered write rarely has more.
const MAX_SLICES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    buffers: VecDeque<Bytes>,
    bytes: usize,
    /// Payload bytes of the output frame, which is always the last.
    output: usize,
}

impl WriteBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// Bytes that wait to be written.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Adds a whole frame. Empty buffers are left out, for writing nothing would look like the end of the socket.
    pub(super) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.bytes += frame.len();
            self.buffers.push_back(frame);
        }
    }

    /// Adds a drawn screen, in as many frames as it needs.
    pub(super) fn push_screen(&mut self, offset: u64, mut screen: Bytes) {
        while !screen.is_empty() {
            let piece = screen.split_to(screen.len().min(MAX_OUTPUT));
            let header = Header { length: piece.len(), kind: Kind::Screen, a: offset }.encode();
            self.push(Bytes::copy_from_slice(&header));
            self.push(piece);
        }
    }

    /// Adds one frame of output, after which nothing is added until it is written.
    pub(super) fn push_output(&mut self, offset: u64, length: usize, pieces: impl Iterator<Item = Bytes>) {
        let header = Header { length, kind: Kind::Output, a: offset }.encode();
        self.push(Bytes::copy_from_slice(&header));
        for piece in pieces {
            self.push(piece);
        }
        self.output = length;
    }

    /// Frees the room that a burst took; for when there is nothing to write for a while.
    pub(super) fn shrink(&mut self) {
        self.buffers = VecDeque::new();
    }

    /// Payload bytes of output that the kernel does not have yet.
    pub(super) fn unwritten_output(&self) -> u64 {
        self.output.min(self.bytes) as u64
    }

    /// Writes what the socket takes now, and returns how much that was.
    pub(super) fn write_to(&mut self, socket: &UnixStream) -> io::Result<usize> {
        let slices: SmallVec<[IoSlice<'_>; MAX_SLICES]> =
            self.buffers.iter().take(MAX_SLICES).map(|buffer| IoSlice::new(buffer)).collect();
        let written = socket.try_write_vectored(&slices)?;
        drop(slices);
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.buffers.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.buffers.pop_front();
        }
        self.output = 0;
    }
}
