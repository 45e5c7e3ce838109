//! Clients that take turns at stalling never stall each other.

use std::time::{Duration, Instant};

use super::flood::*;
use crate::support::*;

pub(super) async fn clients_that_take_turns_at_stalling_never_stall_each_other(time: Duration) {
    // While one stands still, the other must get this far: further than the history reaches, many times.
    const TURN: u64 = 64 << 20;
    let server = TestServer::with(|server| server.history_bytes(1 << 20));
    let mut control = server.client().await;
    let id = create_flood(&mut control, 1 << 40).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        let start = attached(&mut client, &attach("flood", RESYNC)).await.start;
        clients.push((client, Stay::from(start)));
    }
    soon(control.input(id, "\n")).await.unwrap();
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < time || turns <= 2 {
        let moving = turns % 2;
        let until = clients.iter().map(|(_, seen)| seen.next).max().unwrap() + TURN;
        let (client, seen) = &mut clients[moving];
        let before = seen.received;
        seen.read_to(client, until).await;
        assert!(seen.received > before);
        turns += 1;
    }
    println!("{turns} turns of {TURN} bytes: {:?}", clients.iter().map(|(_, seen)| seen).collect::<Vec<_>>());
    let head = session(&mut control, "flood").await.printed;
    for (client, seen) in &mut clients {
        // Each was told of what it missed, every time, and is as good as new.
        seen.read_to(client, head + 1).await;
        let before = seen.received;
        while seen.received == before {
            assert_eq!(seen.read(client).await, None);
        }
        assert!(seen.gaps as usize >= turns / 2 && seen.screens >= seen.gaps, "{turns} turns, {seen:?}");
    }
}
