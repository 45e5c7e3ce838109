//! Five hundred sessions on a busy machine each have their own output, to its end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fugue_server::{
    client::Incoming,
    message::{Event, ExitStatus},
};

use crate::support::*;

pub(super) async fn five_hundred_sessions_each_have_their_own_output_to_its_end() {
    const SESSIONS: usize = 500;
    let busy = Busy::start(16);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let server = TestServer::with(|server| server.history_bytes(64 << 10));
    let mut control = server.client().await;
    let before = descriptors();
    let mut watching = Vec::new();
    for index in 0..SESSIONS {
        let script = format!(
            "stty -opost -echo; echo ready; read go; seq -f '{index} %.0f' 1 5000; exit {}",
            index % 200
        );
        let name = format!("s{index}");
        let mut client = server.client().await;
        let started = attached(&mut client, &shell(&name, &script, Some(LOSSLESS))).await;
        watching.push((client, started.session));
    }
    assert_eq!(server.clients.stats().sessions(), SESSIONS);
    assert_eq!(sessions(&mut control).await.len(), SESSIONS);
    let mut reading = Vec::new();
    for (index, (mut client, session)) in watching.into_iter().enumerate() {
        reading.push(tokio::spawn(async move {
            let mut seen = Transcript::from(0);
            seen.read_to(&mut client, "ready\n").await;
            soon(client.send(&input(session, "\n"))).await.unwrap();
            let mut told = Vec::new();
            let status = loop {
                match soon(client.next()).await.unwrap() {
                    Incoming::Output { offset, data } => {
                        assert_eq!(offset, seen.end());
                        seen.bytes.extend_from_slice(&data);
                    }
                    Incoming::Event(Event::Ended { status, .. }) => break status,
                    Incoming::Reply { answer, .. } => drop(answer.unwrap()),
                    other => told.push(format!("{other:?}")),
                }
            };
            assert!(told.is_empty(), "session {index}: {told:?}");
            let numbers = (1..=5000).map(|number| format!("{index} {number}\n")).collect::<String>();
            let expected = format!("ready\n{numbers}");
            let equal = expected.as_bytes().iter().zip(&seen.bytes).take_while(|(a, b)| a == b).count();
            let (printed, all) = (seen.bytes.len(), expected.len());
            assert_eq!((printed, equal), (all, all), "session {index}, {status:?}");
            assert_eq!(status, ExitStatus::Code(index as i32 % 200));
            seen.bytes.len()
        }));
    }
    let mut total = 0;
    for task in reading {
        total += task.await.unwrap();
    }
    println!("{SESSIONS} sessions printed {total} bytes");
    eventually("all are gone", || server.clients.stats().sessions() == 0).await;
    eventually("only one client is left", || server.clients.count() == 1).await;
    eventually("nothing is kept open", || descriptors() <= before).await;
    drop(busy);
}

/// Threads that leave the others little of the processors, until dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start(threads: usize) -> Self {
        let busy = Arc::new(AtomicBool::new(true));
        for _ in 0..threads {
            let busy = Arc::clone(&busy);
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {});
        }
        Self(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
