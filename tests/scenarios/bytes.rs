//! A client that reads one byte at a time gets them all.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use bytes::BytesMut;
use fugue_server::{
    message::{Event, ExitStatus},
    wire::{self, FrameDecoder, Hello, Kind, Side},
};

use super::process::Process;
use crate::support::*;

pub(super) fn a_client_that_reads_one_byte_at_a_time_gets_them_all() {
    const NUMBERS: u64 = 1_000_000;
    let server = Process::serve(&["--history", "64KiB"]);
    let expected: Vec<u8> = (1..=NUMBERS).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let request = shell("slow", &format!("stty -opost; seq 1 {NUMBERS}"), Some(LOSSLESS));
    let mut socket = UnixStream::connect(&server.socket).unwrap();
    socket.write_all(&Hello::encode()).unwrap();
    socket.write_all(&wire::encode_request(1, &request).unwrap()).unwrap();

    let mut decoder = FrameDecoder::new(Side::Server);
    let mut buffer = BytesMut::new();
    let mut recorded = Vec::new();
    let mut byte = [0];
    let status = 'reading: loop {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "cut off after {} bytes", recorded.len());
        buffer.extend_from_slice(&byte);
        while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
            match frame.kind {
                Kind::Output => {
                    assert_eq!(frame.a, recorded.len() as u64);
                    recorded.extend_from_slice(&frame.payload);
                }
                Kind::Event => match wire::decode_event(&frame.payload).unwrap() {
                    Event::Ended { status, .. } => break 'reading status,
                    other => panic!("{other:?} after {} bytes", recorded.len()),
                },
                _ => {}
            }
        }
    };
    assert_eq!(status, ExitStatus::Code(0));
    assert!(recorded == expected, "{} bytes of {}", recorded.len(), expected.len());
}
