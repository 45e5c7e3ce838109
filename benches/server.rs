//! The depth of each client's queue, through the whole server: a feed, and clients on real sockets that check what they
//! get. A full queue costs a broadcast next to nothing, and its client reads what it missed from the history in one
//! large write; so a shallow one may be the faster. Figures are bytes delivered.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_main};
use fugue_server::{
    Client, Feed, Server, TerminalSize,
    client::Incoming,
    message::{AttachOptions, OnLag, Pace, StartAt},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DEPTHS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
const VIEWERS: usize = 16;
/// What Linux hands out of a PTY in one read.
const MESSAGE: usize = 4096;
/// Messages in a round.
const MESSAGES: usize = 1024;

struct Room {
    runtime: Runtime,
    feed: Feed,
    viewers: Vec<Option<Client>>,
    received: u64,
    _directory: TempDir,
}

impl Room {
    fn new(depth: usize) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("fugue/server.sock");
        let (feed, viewers) = runtime.block_on(async {
            let server = Server::builder(&socket).queue_depth(depth).bind().expect("a free socket");
            let feeds = server.feeds();
            let name = "feed".parse().expect("a name");
            let feed = feeds.start(name, TerminalSize::DEFAULT, Pace::Slowest).expect("a free name");
            tokio::spawn(server.serve(std::future::pending()));
            let mut viewers = Vec::new();
            for _ in 0..VIEWERS {
                let mut client = Client::connect(&socket).await.expect("a server");
                let options = AttachOptions::new(StartAt::Now, OnLag::Lossless);
                client.attach(feed.session(), options).await.expect("a session");
                viewers.push(Some(client));
            }
            (feed, viewers)
        });
        Self { runtime, feed, viewers, received: 0, _directory: directory }
    }

    /// Prints a round, and waits until every viewer has it, in order and whole.
    fn round(&mut self) -> Duration {
        let Self { runtime, feed, viewers, received, .. } = self;
        let message = Bytes::from(vec![b'x'; MESSAGE]);
        let (from, to) = (*received, *received + (MESSAGES * MESSAGE) as u64);
        *received = to;
        runtime.block_on(async {
            let start = Instant::now();
            let mut reading = Vec::new();
            for viewer in viewers.iter_mut() {
                let mut client = viewer.take().expect("put back after each round");
                reading.push(tokio::spawn(async move {
                    let mut at = from;
                    while at < to {
                        match client.next().await.expect("a connection") {
                            Incoming::Output { offset, data } => {
                                assert_eq!(offset, at, "nothing is skipped");
                                at += data.len() as u64;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    client
                }));
            }
            for _ in 0..MESSAGES {
                feed.print(message.clone()).await.expect("nobody ends it");
            }
            for (viewer, task) in viewers.iter_mut().zip(reading) {
                *viewer = Some(task.await.expect("a reader"));
            }
            start.elapsed()
        })
    }
}

fn by_queue_depth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server");
    group.throughput(Throughput::Bytes((VIEWERS * MESSAGES * MESSAGE) as u64)).sample_size(10);
    for depth in DEPTHS {
        let mut room = Room::new(depth);
        room.round();
        group.bench_function(format!("viewers={VIEWERS}/queue_depth={depth}"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| room.round()).sum());
        });
    }
    group.finish();
}

fn suite() {
    let mut criterion = common::criterion();
    by_queue_depth(&mut criterion);
    criterion.final_summary();
}

criterion_main!(suite);
