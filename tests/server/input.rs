//! What clients type reaches the program, whole, in order, and never at the cost of anything else.

use bytes::Bytes;
use fugue_server::{
    client::Incoming,
    message::{ExitStatus, Reply, RequestError},
    wire::MAX_INPUT,
};

use crate::support::*;

#[tokio::test]
async fn what_one_client_types_all_watchers_see() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.client().await, server.client().await);
    let session = attached(&mut a, &shell("shared", "stty -echo; printf ready; exec cat", Some(LOSSLESS)))
        .await
        .session;
    attached(&mut b, &attach("shared", FROM_OLDEST)).await;
    let (mut of_a, mut of_b) = (Transcript::from(0), Transcript::from(0));
    of_a.read_to(&mut a, "ready").await;
    soon(a.send(&input(session, "from a\n"))).await.unwrap();
    of_a.read_to(&mut a, "from a\r\n").await;
    of_b.read_to(&mut b, "from a\r\n").await;
    soon(b.send(&input(session, "from b\n"))).await.unwrap();
    of_a.read_to(&mut a, "from b\r\n").await;
    of_b.read_to(&mut b, "from b\r\n").await;
    assert_eq!(of_a.bytes, of_b.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paste_of_a_mebibyte_during_a_flood_arrives_whole_and_in_order() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "stty raw -echo; printf ready; (while :; do echo noise; done) & \
                  head -c 1048576 | cksum; kill $!; printf done";
    let created = attached(&mut client, &shell("paste", script, Some(LOSSLESS))).await;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut client, "ready").await;

    let paste: Bytes = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut outstanding = std::collections::VecDeque::new();
    for piece in paste.chunks(16 * 1024) {
        if outstanding.len() == 8 {
            let oldest: u64 = outstanding.pop_front().unwrap();
            loop {
                match soon(client.next()).await.unwrap() {
                    Incoming::Reply { request, answer } => {
                        assert_eq!((request, answer), (oldest, Ok(Reply::Written)));
                        break;
                    }
                    Incoming::Output { data, .. } => transcript.bytes.extend_from_slice(&data),
                    other => panic!("{other:?}"),
                }
            }
        }
        let request = input(created.session, Bytes::copy_from_slice(piece));
        outstanding.push_back(soon(client.send(&request)).await.unwrap());
    }
    transcript.read_to(&mut client, "done").await;
    // POSIX cksum of the paste, as the program saw it.
    let expected = format!("{} 1048576", cksum(&paste));
    assert!(contains(&transcript.bytes, expected.as_bytes()), "the checksum {expected} did not come");
}

/// The checksum of POSIX `cksum`: a CRC-32 that ends with the length.
pub(super) fn cksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            if crc & 0x8000_0000 != 0 { (crc << 1) ^ 0x04c1_1db7 } else { crc << 1 }
        })
    };
    let length = bytes.len().to_le_bytes();
    let digits = length.iter().take(length.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1));
    !bytes.iter().chain(digits).fold(0, |crc, byte| step(crc, *byte))
}

#[tokio::test]
async fn too_much_outstanding_input_is_refused_and_harms_nothing() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let session = create(&mut client, "deaf", "stty raw -echo; sleep 1000").await.id;
    let piece = Bytes::from(vec![b'x'; MAX_INPUT]);
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(soon(client.send(&input(session, piece.clone()))).await.unwrap());
    }
    // 512 KiB are more than the 256 KiB that may be outstanding and what the terminal takes; some must be refused.
    loop {
        match soon(client.next()).await.unwrap() {
            Incoming::Reply { answer: Err(RequestError::TooManyOutstanding), .. } => break,
            Incoming::Reply { answer: Ok(Reply::Written), .. } => {}
            other => panic!("{other:?}"),
        }
    }
    // The rest of the connection is unimpressed, and the session can still be ended.
    soon(client.ping()).await.unwrap();
    soon(client.kill(named("deaf"))).await.unwrap();
}

#[tokio::test]
async fn typing_into_a_terminal_that_nobody_has_open_waits_and_spins_on_nothing() {
    let server = TestServer::start();
    let mut client = server.client().await;
    // It closes its terminal with more typed than the terminal holds, opens it again, and reads on.
    let script = "stty raw -echo; exec 3>&1; printf ready >&3; read -r go < /dev/tty; exec <&- >&- 2>&- 3>&-; sleep 0.5; \
                  head -c 200000 < /dev/tty | wc -c > /dev/tty";
    let created = attached(&mut client, &shell("closed", script, Some(LOSSLESS))).await;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut client, "ready").await;
    soon(client.send(&input(created.session, "go\n"))).await.unwrap();
    for _ in 0..4 {
        soon(client.send(&input(created.session, vec![b'x'; 50_000]))).await.unwrap();
    }
    let mut other = server.client().await;
    soon(other.ping()).await.unwrap();
    transcript.read_to(&mut client, "200000").await;
}

#[tokio::test]
async fn input_to_a_program_that_is_gone_says_so() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let session = create(&mut client, "brief", "read line; exit 4").await.id;
    soon(client.input(session, "\n")).await.unwrap();
    eventually("the session is gone", || server.clients.stats().sessions() == 0).await;
    let error = loop {
        match soon(client.input(session, "x")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(fugue_server::client::ClientError::Refused(error)) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error, RequestError::SessionEnded { name: "brief".into(), status: ExitStatus::Code(4) });
}
