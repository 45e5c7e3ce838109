//! Thousands join and leave a flood, and none is sent a wrong byte.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fugue_server::{
    Client,
    client::Incoming,
    message::{AttachOptions, ClientMessage, OnLag, StartAt},
};

use super::flood::*;
use crate::{random::Random, support::*};

pub(super) async fn thousands_join_and_leave_a_flood_and_none_is_sent_a_wrong_byte() {
    const STAYS: u64 = 1000;
    let server = TestServer::start();
    let mut first = server.client().await;
    let id = create_flood(&mut first, 1 << 40).await;
    attached(&mut first, &attach("flood", FROM_OLDEST)).await;
    soon(first.send(&input(id, "\n"))).await.unwrap();
    // One that stays for all of it.
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    let staying = tokio::spawn(async move {
        let mut seen = Stay::from(0);
        while !ends.load(Ordering::Relaxed) {
            assert_eq!(seen.read(&mut first).await, None);
        }
        seen
    });

    let random = Random::seeded("joins");
    let mut joining = Vec::new();
    for task in 0..4 {
        let mut random = random.branch(task);
        let mut client = server.client().await;
        let socket = server.socket.clone();
        joining.push(tokio::spawn(async move {
            let mut received = 0;
            for _ in 0..STAYS {
                let start = match random.below(4) {
                    0 => StartAt::Screen,
                    1 => StartAt::Now,
                    2 => StartAt::Oldest,
                    _ => StartAt::Last(random.below(1 << 20)),
                };
                let on_lag = if random.below(2) == 0 { OnLag::Resync } else { OnLag::Lossless };
                let started =
                    attached(&mut client, &attach("flood", AttachOptions::new(start, on_lag))).await;
                let mut seen = Stay::from(started.start);
                let enough = started.start + 1 + random.below(256 << 10);
                seen.read_to(&mut client, enough).await;
                assert!(start != StartAt::Screen || seen.screens > 0);
                received += seen.received;
                // They leave with a word, or without.
                if random.below(2) == 0 {
                    let detach = soon(client.send(&ClientMessage::Detach)).await.unwrap();
                    loop {
                        match soon(client.next()).await.unwrap() {
                            Incoming::Reply { request, .. } if request == detach => break,
                            incoming => assert_eq!(seen.check(incoming), None),
                        }
                    }
                } else {
                    client = soon(Client::connect(&socket)).await.unwrap();
                }
            }
            received
        }));
    }
    let mut received = 0;
    for task in joining {
        received += task.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let seen = staying.await.unwrap();
    println!("{} stays received {received} bytes of {}", 4 * STAYS, seen.next);
    assert_eq!((seen.gaps, seen.screens), (0, 0));
    eventually("all have left", || server.clients.count() == 0).await;
}
