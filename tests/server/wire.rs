//! The frames themselves: what was encoded is decoded, however it is cut, and nothing else is.

use bytes::{Bytes, BytesMut};
use fugue_server::{
    ClientId, SessionId, SessionName, TerminalSize,
    message::{
        Access, Attach, AttachOptions, ClientMessage, CloseReason, Create, DetachWhich, Event, ExitStatus,
        InputPosition, InputStreamId, LinkToken, OnLag, Pace, Reply, RequestError, SessionChange, Share,
        SizePolicy, StartAt, Target, UnshareWhich, ViewerId,
    },
    wire::{self, Frame, FrameDecoder, HEADER_LEN, Header, Hello, HelloReply, Kind, Side, WireError},
};

use crate::support::*;

#[test]
fn each_kind_has_room_for_the_largest_that_is_sent_and_no_more() {
    const KIB: usize = 1024;
    for (kind, limit) in [
        (Kind::Hello, 64),
        (Kind::List, 0),
        (Kind::Resize, 256),
        (Kind::ReadScreen, 256),
        (Kind::Wait, 256),
        (Kind::Find, 256),
        (Kind::Change, 256),
        (Kind::Listen, 0),
        (Kind::Share, 1024),
        (Kind::Shares, 0),
        (Kind::Unshare, 256),
        (Kind::Redeem, 256),
        (Kind::Relay, 64 * KIB),
        (Kind::Attach, 17 * KIB + 256),
        (Kind::Input, 65_536 + 40),
        (Kind::Create, 2_097_152),
        (Kind::HelloReply, 4096),
        (Kind::Reply, 4_194_304),
        (Kind::Output, 262_144),
        (Kind::Screen, 262_144),
        (Kind::Event, 65_536),
    ] {
        assert_eq!(kind.limit(), limit, "{kind:?}");
    }
}

fn requests() -> Vec<ClientMessage> {
    let view = AttachOptions::new(StartAt::Offset(7), OnLag::Lossless);
    let session = SessionId::from(1_u64 << 40);
    let position = InputPosition { stream: InputStreamId::from_bytes([7; 16]).unwrap(), offset: 1 << 40 };
    let mut create = Create::new("a".parse().unwrap(), vec![b"sh".to_vec(), vec![0xff, 0xfe]]);
    create.env = vec![(b"A".to_vec(), b"B=C".to_vec())];
    create.cwd = Some(b"/".to_vec());
    create.size_policy = SizePolicy::Smallest;
    create.pace = Pace::Slowest;
    create.attach = Some(view);
    vec![
        ClientMessage::List,
        ClientMessage::Create(create),
        ClientMessage::Attach(Attach::new(Target::Id(session), view)),
        ClientMessage::Attach(Attach::new(Target::Name("n".parse().unwrap()), view)),
        ClientMessage::Attach(Attach::new(Target::Id(session), view.following())),
        ClientMessage::Attach(Attach::new(Target::Id(session), view.with_size(TerminalSize::new(100, 30)))),
        ClientMessage::Detach,
        ClientMessage::Input { session, position: None, data: Bytes::from_static(b"\x00keys\xff") },
        ClientMessage::Input { session, position: None, data: Bytes::new() },
        ClientMessage::Input { session, position: Some(position), data: Bytes::from_static(b"keys") },
        ClientMessage::Resize { session, size: TerminalSize::new(1, 1000).unwrap(), pixels: None },
        ClientMessage::Kill { session: Target::Name("n".parse().unwrap()) },
        ClientMessage::Environment { session: Target::Id(session) },
        ClientMessage::ReadScreen { session: Target::Id(session), lines: u32::MAX },
        ClientMessage::Wait { session: Target::Name("n".parse().unwrap()) },
        ClientMessage::Find { session: Target::Prefix("n".parse().unwrap()) },
        ClientMessage::Find { session: Target::Here },
        ClientMessage::Change {
            session: Target::Id(session),
            change: SessionChange::Rename("b".parse().unwrap()),
        },
        ClientMessage::Change {
            session: Target::Here,
            change: SessionChange::Switch(Target::Name("x".repeat(64).parse().unwrap())),
        },
        ClientMessage::Change {
            session: Target::Name("x".repeat(64).parse().unwrap()),
            change: SessionChange::Size { policy: SizePolicy::Fixed, size: TerminalSize::new(1000, 1000) },
        },
        ClientMessage::Change {
            session: Target::Id(session),
            change: SessionChange::Detach(DetachWhich::One(ClientId(u64::MAX))),
        },
        ClientMessage::Change { session: Target::Id(session), change: SessionChange::Signal(-1) },
        ClientMessage::Listen,
        ClientMessage::Share(
            Share::of(Target::Prefix("x".repeat(64).parse().unwrap()))
                .with_access(Access::ReadWrite)
                .with_uses(Some(u32::MAX))
                .with_lifetime_seconds(Some(u64::MAX))
                .with_label(Some("\u{1f980}".repeat(80))),
        ),
        ClientMessage::Share(Share::of_all()),
        ClientMessage::Shares,
        ClientMessage::Unshare(UnshareWhich::One("00abcdef".parse().unwrap())),
        ClientMessage::Unshare(UnshareWhich::All),
        ClientMessage::Redeem {
            token: LinkToken::from_bytes([1; 16]),
            viewer: ViewerId::from_bytes([2; 16]),
        },
        ClientMessage::Stats,
        ClientMessage::Resync,
        ClientMessage::Ping,
    ]
}

/// All frames in `bytes`, which are fed in pieces of `piece`; and how it ended.
fn decode(bytes: &[u8], piece: usize, from: Side) -> (Vec<Frame>, Result<(), WireError>) {
    let mut decoder = FrameDecoder::new(from);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let end = decoder.end(&buffer);
    (frames, end)
}

fn recorded() -> Vec<u8> {
    let encode = |(id, request)| wire::encode_request(id, request).unwrap();
    requests().iter().enumerate().map(|(id, request)| (id as u64, request)).flat_map(encode).collect()
}

#[test]
fn requests_survive_the_wire_in_pieces_of_any_size() {
    let bytes = recorded();
    for piece in [1, 2, 3, 15, 16, 17, 100, bytes.len()] {
        let (frames, end) = decode(&bytes, piece, Side::Client);
        end.unwrap();
        let decoded: Vec<_> =
            frames.iter().map(|frame| (frame.a, wire::decode_request(frame).unwrap())).collect();
        let expected: Vec<_> =
            requests().into_iter().enumerate().map(|(id, request)| (id as u64, request)).collect();
        assert_eq!(decoded, expected, "pieces of {piece}");
    }
}

#[tokio::test]
async fn replies_and_events_survive_the_wire() {
    // What only a server makes.
    let server = TestServer::start();
    let mut client = server.client().await;
    let attached = attached(&mut client, &shell("a", "", Some(LOSSLESS))).await;
    let (sessions, stats) = (sessions(&mut client).await, stats(&mut client).await);
    create(&mut client, "shown", "sleep 1000").await;
    let link = soon(client.share(Share::of(named("shown")).with_label(Some("x".into())))).await.unwrap();
    let links = soon(client.shares()).await.unwrap();
    let unshared = soon(client.unshare(UnshareWhich::All)).await.unwrap();
    let screen = soon(client.read_screen("shown".parse::<SessionName>().unwrap(), 0)).await.unwrap();
    for answer in [
        Ok(Reply::Pong),
        Ok(Reply::Attached(attached)),
        Ok(Reply::Sessions(sessions)),
        Ok(Reply::Stats(Box::new(stats))),
        Ok(Reply::Killed(ExitStatus::Signal(9))),
        Ok(Reply::Ended(ExitStatus::Code(3))),
        Ok(Reply::Screen(Box::new(screen))),
        Ok(Reply::Shared(Box::new(link))),
        Ok(Reply::Shares(links)),
        Ok(Reply::Unshared(unshared)),
        Err(RequestError::NoSuchLink),
        Err(RequestError::BeyondLink { access: Access::ReadOnly }),
        Err(RequestError::OffsetNotHeld { offset: 1, oldest: 2, head: 3 }),
        Err(RequestError::Ambiguous { prefix: "a".into(), names: vec!["ab".into(), "ac".into()] }),
    ] {
        let frame = wire::encode_reply(3, &answer);
        assert_eq!(wire::decode_reply(&frame[HEADER_LEN..]).unwrap(), answer);
    }
    for event in [
        Event::Ended { session: SessionId::random(), status: ExitStatus::Code(-1) },
        Event::Closing(CloseReason::FellBehind { from: 1, to: 2 }),
        Event::Notice("ü".into()),
        Event::Switch { to: SessionId::random() },
        Event::Lost(u64::MAX),
        Event::Closing(CloseReason::Detached),
        Event::Closing(CloseReason::Revoked),
        Event::Closing(CloseReason::Expired),
    ] {
        let frame = wire::encode_event(&event).unwrap();
        assert_eq!(wire::decode_event(&frame[HEADER_LEN..]).unwrap(), event);
    }
}

#[test]
fn a_stream_cut_anywhere_is_an_error_or_whole_frames() {
    let bytes = recorded();
    let (all, _) = decode(&bytes, bytes.len(), Side::Client);
    let mut ends = vec![0];
    for frame in &all {
        ends.push(ends[ends.len() - 1] + HEADER_LEN + frame.payload.len());
    }
    for cut in 0..bytes.len() {
        let (frames, end) = decode(&bytes[..cut], 7, Side::Client);
        assert_eq!(frames, all[..frames.len()]);
        match end {
            Ok(()) => assert!(ends.contains(&cut), "cut at {cut}"),
            Err(error) => {
                assert!(matches!(error, WireError::Cut) && !ends.contains(&cut), "cut at {cut}: {error}")
            }
        }
    }
}

#[test]
fn no_flipped_bit_makes_anything_panic_or_allocate_beyond_a_frame() {
    let bytes = recorded();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (frames, _) = decode(&flipped, 64, Side::Client);
        for frame in frames {
            let _ = wire::decode_request(&frame);
        }
    }
}

#[test]
fn a_length_beyond_its_kinds_limit_is_refused_before_room_is_made() {
    for kind in [Kind::Hello, Kind::List, Kind::Create, Kind::Attach, Kind::Input, Kind::Ping] {
        for length in [kind.limit() + 1, u32::MAX as usize] {
            let mut header = Header::new(kind, 0, 0).encode();
            header[..4].copy_from_slice(&(length as u32).to_le_bytes());
            let mut buffer = BytesMut::from(&header[..]);
            let error = FrameDecoder::new(Side::Client).decode(&mut buffer).unwrap_err();
            assert!(matches!(error, WireError::TooLong { .. }), "{error}");
            assert!(buffer.capacity() < 1024);
        }
    }
    let session = SessionId::random();
    let data = Bytes::from(vec![0; wire::MAX_INPUT + 1]);
    let error = wire::encode_request(1, &ClientMessage::Input { session, position: None, data }).unwrap_err();
    assert!(matches!(error, WireError::TooLong { .. }));
}

#[test]
fn unknown_kinds_are_refused_unless_they_may_be_skipped() {
    let ping = wire::encode_request(5, &ClientMessage::Ping).unwrap();
    let unknown = |flags: u8, length: u32| {
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4] = 77;
        header[5] = flags;
        [&header[..], &vec![9; length as usize], &ping].concat()
    };
    for (flags, length, piece) in [(1, 0, 1), (1, 1000, 1), (1, 65_536, 999)] {
        let (frames, end) = decode(&unknown(flags, length), piece, Side::Client);
        end.unwrap();
        assert_eq!(frames.iter().map(|frame| frame.a).collect::<Vec<_>>(), [5]);
    }
    assert!(matches!(decode(&unknown(0, 10), 8, Side::Client).1, Err(WireError::UnknownKind(77))));
    assert!(matches!(decode(&unknown(1, 65_537), 8, Side::Client).1, Err(WireError::TooLong { .. })));
    assert!(matches!(decode(&unknown(2, 0), 8, Side::Client).1, Err(WireError::ReservedBits)));
    // A server's kinds are none that a client may send, and the other way round.
    assert!(matches!(decode(&ping, 8, Side::Server).1, Err(WireError::UnknownKind(10))));
}

#[test]
fn hellos_tell_versions_apart_and_may_grow() {
    let hello = Hello::encode();
    assert_eq!(hello.len(), HEADER_LEN + 64);
    let read = Hello::decode(&hello[HEADER_LEN..]).unwrap();
    assert_eq!((read.version, read.oldest, read.features), (wire::VERSION, wire::OLDEST_VERSION, 7));
    let longer = [&hello[HEADER_LEN..], b"what a later version adds"].concat();
    assert_eq!(Hello::decode(&longer).unwrap(), read);
    // As it was before there were ranges.
    let early = Hello::decode(&[&b"fugue\0"[..], &[3, 0]].concat()).unwrap();
    assert_eq!((early.version, early.oldest, early.agreed()), (3, 3, None));
    assert!(Hello::decode(b"GET / HTTP/1.1").is_err());
    for reply in [
        HelloReply::welcome(wire::VERSION, ClientId(7)),
        HelloReply::Refused { version: 9, why: "too old".into() },
    ] {
        assert_eq!(HelloReply::decode(&reply.encode()[HEADER_LEN..]).unwrap(), reply);
    }
    assert!(HelloReply::decode(b"").is_err());
    let longer = [&HelloReply::welcome(wire::VERSION, ClientId(7)).encode()[HEADER_LEN..], b"more"].concat();
    assert_eq!(HelloReply::decode(&longer).unwrap(), HelloReply::welcome(wire::VERSION, ClientId(7)));
}

#[test]
fn two_sides_speak_the_newest_version_that_both_know() {
    let (ours, oldest) = (wire::VERSION, wire::OLDEST_VERSION);
    let agreed = |oldest: u16, version: u16| {
        let payload = [&b"fugue\0"[..], &version.to_le_bytes(), &oldest.to_le_bytes()].concat();
        Hello::decode(&payload).unwrap().agreed()
    };
    assert_eq!(agreed(0, u16::MAX), Some(ours));
    assert_eq!(agreed(ours, ours + 1), Some(ours));
    assert_eq!(agreed(0, oldest), Some(oldest));
    assert_eq!(agreed(ours + 1, u16::MAX), None);
    assert_eq!(agreed(0, oldest - 1), None);
    // One that says the newest it knows is older than the oldest knows none.
    assert_eq!(agreed(ours, oldest - 1), None);
}
