//! A steady-state broadcast allocates nothing, whatever the session's size and however full its queues; and a change of
//! membership allocates no more than it has to copy.
//!
//! "Steady state" has a meaning that tokio sets: its channel keeps messages in blocks of 32, makes a block when the
//! last one fills, and puts a block that has been read to its end back behind the last one. So a queue that is drained
//! as it is filled soon owns all the blocks it will ever need. The warm-up takes every queue there; the measured
//! rounds are then many blocks long, so that any allocation, tokio's own included, fails the test.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

/// What clients make a whole server hold.
#[cfg(feature = "server")]
mod live;

use std::hint::black_box;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fugue_server::{ClientId, ClientRegistry, Delivery, Publisher, ServerMessage, SessionId};
use tokio::sync::mpsc::{self, Receiver};

/// Inline membership, its limit, the first heap, a full chunk of the roster, and many chunks.
const MEMBERS: [usize; 5] = [1, 4, 5, 64, 1000];
const DEPTH: usize = 64;
/// Rounds of up to 32 messages: more than a block each way before, and several while measuring.
const WARM_UP: usize = 100;
const ROUNDS: usize = 100;

struct Room {
    registry: ClientRegistry,
    session: SessionId,
    members: Vec<(ClientId, Receiver<ServerMessage>)>,
}

impl Room {
    fn new(members: usize) -> Self {
        let (registry, session) = (ClientRegistry::new(), SessionId::random());
        let join = |_| {
            let (sender, queue) = mpsc::channel(DEPTH);
            let client = registry.next_client_id();
            registry.register_client(client, sender).unwrap();
            registry.attach_to_session(client, session).unwrap();
            (client, queue)
        };
        let members = (0..members).map(join).collect();
        Self { registry, session, members }
    }

    fn drain(&mut self) -> usize {
        let drained =
            |(_, queue): &mut (_, Receiver<_>)| std::iter::from_fn(|| queue.try_recv().ok()).count();
        self.members.iter_mut().map(drained).sum()
    }

    fn fill(&mut self) {
        while self.registry.broadcast_to_session(self.session, output()).sent > 0 {}
    }
}

/// A shared payload, as the pump broadcasts it: a clone of it costs a reference count.
fn output() -> ServerMessage {
    ServerMessage::Output {
        session: SessionId::from(0_u64),
        offset: 0,
        data: Bytes::from_static(&[b'x'; 4096]),
    }
}

/// Runs `broadcast` on rooms of every size, first with queues that are drained after each call, then with full ones,
/// and counts what it allocates.
fn allocates_nothing(mut broadcast_in: impl FnMut(&Room) -> Box<dyn FnMut() -> Delivery>) {
    for members in MEMBERS {
        let mut room = Room::new(members);
        let mut broadcast = broadcast_in(&room);

        let mut allocations = 0;
        for round in 0..WARM_UP + ROUNDS {
            let mut delivery = Delivery::default();
            let info = measure(|| delivery = broadcast());
            assert!(delivery.is_complete());
            assert_eq!(room.drain() as u64, delivery.sent);
            allocations += if round < WARM_UP { 0 } else { info.count_total };
        }
        assert_eq!(allocations, 0, "{members} members with room");

        room.fill();
        let info = measure(|| {
            for _ in 0..ROUNDS {
                assert_eq!(broadcast().sent, 0);
            }
        });
        assert_eq!(info.count_total, 0, "{members} full members");
    }
}

#[test]
fn a_broadcast_allocates_nothing() {
    allocates_nothing(|room| {
        let (registry, session, message) = (room.registry.clone(), room.session, output());
        Box::new(move || registry.broadcast_to_session(session, message.clone()))
    });
}

#[test]
fn a_broadcast_to_all_but_one_allocates_nothing() {
    allocates_nothing(|room| {
        let (registry, session, message) = (room.registry.clone(), room.session, output());
        let (except, _) = room.members[0];
        Box::new(move || registry.broadcast_to_session_except(session, except, message.clone()))
    });
}

#[test]
fn a_burst_allocates_nothing() {
    allocates_nothing(|room| {
        let (registry, session, burst) = (room.registry.clone(), room.session, vec![output(); 32]);
        Box::new(move || registry.broadcast_burst(session, &burst))
    });
}

#[test]
fn an_observed_broadcast_allocates_nothing() {
    allocates_nothing(|room| {
        let (registry, session, message) = (room.registry.clone(), room.session, output());
        Box::new(move || {
            registry
                .to(session)
                .observe(|client, _| {
                    black_box(client);
                })
                .send(message.clone())
        })
    });
}

#[test]
fn a_publishers_broadcast_allocates_nothing() {
    allocates_nothing(|room| {
        let (mut publisher, message) = (room.registry.publisher(room.session), output());
        Box::new(move || publisher.broadcast(message.clone()))
    });
}

#[test]
fn a_publishers_broadcast_to_all_but_one_allocates_nothing() {
    allocates_nothing(|room| {
        let (mut publisher, message) = (room.registry.publisher(room.session), output());
        let (except, _) = room.members[0];
        Box::new(move || publisher.except(except).send(message.clone()))
    });
}

#[test]
fn a_publishers_burst_allocates_nothing() {
    allocates_nothing(|room| {
        let (mut publisher, burst) = (room.registry.publisher(room.session), vec![output(); 32]);
        Box::new(move || publisher.broadcast_burst(&burst))
    });
}

/// What one member's leaving and coming back allocates, in calls and bytes, once it has done so before.
fn coming_and_going(room: &Room, mut shared: Option<Publisher<ServerMessage>>) -> (u64, u64) {
    let (client, _) = room.members[room.members.len() / 2];
    let mut last = AllocationInfo::default();
    for _ in 0..WARM_UP {
        last = measure(|| {
            room.registry.detach_from_session(client).unwrap();
            room.registry.attach_to_session(client, room.session).unwrap();
        });
        if let Some(publisher) = &mut shared {
            publisher.refresh();
        }
    }
    (last.count_total, last.bytes_total)
}

#[test]
fn members_come_and_go_in_place_while_nobody_shares_the_roster() {
    for members in MEMBERS {
        let room = Room::new(members + 1);
        let (allocations, _) = coming_and_going(&room, None);
        // A 65th member has a chunk to itself, which goes and comes with it.
        let own_chunk = if members == 64 { 1 } else { 0 };
        assert_eq!(allocations, own_chunk, "{members} other members");
    }
}

#[test]
fn the_first_broadcast_after_a_change_allocates_no_more_than_a_chunk() {
    for members in MEMBERS {
        let mut room = Room::new(members + 1);
        let (client, _) = room.members[members / 2];
        let mut last = AllocationInfo::default();
        for _ in 0..WARM_UP {
            last = measure(|| {
                room.registry.detach_from_session(client).unwrap();
                room.registry.attach_to_session(client, room.session).unwrap();
                assert_eq!(
                    room.registry.broadcast_to_session(room.session, output()).sent as usize,
                    members + 1
                );
            });
            room.drain();
        }
        // As above.
        let own_chunk = if members == 64 { 1 } else { 0 };
        let message = measure(|| drop(output())).count_total;
        assert_eq!(last.count_total, own_chunk + message, "{members} other members");
    }
}

#[test]
fn members_come_and_go_for_a_few_chunks_while_the_roster_is_shared() {
    let room = Room::new(10_000);
    let (_, bytes) = coming_and_going(&room, Some(room.registry.publisher(room.session)));
    // A copy of all senders would be 240 kB.
    assert!(bytes < 16 * 1024, "{bytes} bytes");
}

#[test]
fn the_measure_sees_what_is_allocated() {
    let mut room = Room::new(100);
    room.fill();
    // A message to all is documented to allocate.
    let mut all = Delivery::default();
    let info = measure(|| all = room.registry.broadcast_to_all(output()));
    assert_eq!((all.full, info.count_total > 0), (100, true));
    assert_eq!(info.count_current, 0, "and to free what it allocated");
    assert_eq!(room.drain(), 100 * DEPTH);
}

/// A connection to a server keeps nothing of a long request, whether it was refused or carried out.
#[cfg(feature = "server")]
#[test]
fn an_idle_connection_keeps_nothing_of_a_long_request() {
    use fugue_server::{
        Server,
        wire::{FrameReader, Header, Hello, Kind, Side},
    };
    use tokio::{io::AsyncWriteExt, net::UnixStream};

    // On one thread, whose allocations are counted.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("fugue/server.sock");
    let server = runtime.block_on(async { Server::builder(&socket).bind().unwrap() });
    let serving = runtime.spawn(server.serve(std::future::pending()));
    let request = async |stream: &mut UnixStream, kind: Kind, length: usize| {
        stream.write_all(&Header::new(kind, 1, length).encode()).await.unwrap();
        // No create request is made of this.
        for _ in 0..length / 1024 {
            stream.write_all(&[0xff; 1024]).await.unwrap();
        }
        let mut answers = FrameReader::new(stream, Side::Server);
        assert_eq!(answers.next().await.unwrap().unwrap().kind, Kind::Reply);
    };
    let mut stream = runtime.block_on(async {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&Hello::encode()).await.unwrap();
        let welcome = FrameReader::new(&mut stream, Side::Server).next().await.unwrap().unwrap();
        assert_eq!(welcome.kind, Kind::HelloReply);
        request(&mut stream, Kind::Ping, 0).await;
        stream
    });
    let info = measure(|| runtime.block_on(request(&mut stream, Kind::Create, Kind::Create.limit())));
    assert!(info.bytes_max > 2 * 1024 * 1024, "the request was held: {info:?}");
    assert!(info.bytes_current < 4096, "{info:?}");
    serving.abort();
}

#[test]
fn a_further_id_of_a_connection_costs_200_to_300_bytes() {
    const IDS: u64 = 10_000;
    let registry = ClientRegistry::<ServerMessage>::builder().shards(64).build().unwrap();
    let (sender, _queue) = mpsc::channel(1);
    let info = measure(|| {
        for id in (0..IDS).map(ClientId::from) {
            registry.register_client(id, sender.clone()).unwrap();
            // In a room of a hundred.
            registry.attach_to_session(id, SessionId::from(id.0 % 100)).unwrap();
        }
    });
    let bytes = info.bytes_current / IDS as i64;
    assert!((200..300).contains(&bytes), "{bytes} bytes each");
}
