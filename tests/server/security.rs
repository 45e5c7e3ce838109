//! What a client can make the server hold or hand out, and what an embedder's own state does to programs.

use bytes::Bytes;
use fugue_server::{
    message::{ClientMessage, RequestError},
    wire::{self, Frame, Kind},
};
use nix::sys::signal::{SigSet, Signal};

use crate::support::*;

fn with_command(name: &str, command: Vec<Vec<u8>>) -> ClientMessage {
    shell_with(name, "", |create| create.command = command)
}

#[tokio::test]
async fn sessions_with_the_longest_command_lines_are_listed_by_their_beginnings() {
    let server = TestServer::start();
    let mut client = server.client().await;
    // Together they are more than a reply may be.
    for name in ["a", "b", "c"] {
        let mut command = vec![b"/bin/sleep".to_vec(), b"1000".to_vec()];
        command.extend((0..15).map(|_| vec![0x1b; 100_000]));
        let created = soon(client.request(&with_command(name, command))).await;
        created.unwrap();
    }
    let sessions = sessions(&mut client).await;
    assert_eq!(sessions.len(), 3);
    for session in &sessions {
        let shown = &session.command;
        assert!(shown.starts_with(r"/bin/sleep 1000 $'\033\033") && shown.ends_with('…'), "{shown}");
        assert!(shown.len() < 4096, "{} bytes", shown.len());
    }
    let long = with_command("d", vec![vec![b'x'; 100_000]]);
    match refused(&mut client, &long).await {
        RequestError::NotStarted { program, .. } => assert!(program.len() < 4096, "{} bytes", program.len()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_of_too_many_words_is_refused_before_they_are_held() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let most = 256 * 1024;
    let decode = |words: usize| {
        let frame = wire::encode_request(7, &with_command("a", vec![Vec::new(); words])).unwrap();
        let payload = frame.slice(wire::HEADER_LEN..);
        wire::decode_request(&Frame::new(Kind::Create, 7, payload))
    };
    assert!(decode(most).is_ok());
    assert!(decode(most + 1).is_err());
    let many = with_command("a", vec![Vec::new(); 2_000_000]);
    assert!(matches!(refused(&mut client, &many).await, RequestError::Malformed(_)));
    let many = shell_with("a", "true", |create| create.env = vec![Default::default(); 1_000_000]);
    assert!(matches!(refused(&mut client, &many).await, RequestError::Malformed(_)));
    soon(client.request(&ClientMessage::Ping)).await.unwrap();
}

#[tokio::test]
async fn programs_do_not_block_signals_that_the_embedder_blocks() {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR2);
    blocked.thread_block().unwrap();
    let server = TestServer::start();
    let mut client = server.client().await;
    let command = ["/bin/grep", "SigBlk", "/proc/self/status"].map(|word| word.as_bytes().to_vec());
    let create = shell_with("a", "", |create| {
        create.command = command.to_vec();
        create.attach = Some(LOSSLESS);
    });
    attached(&mut client, &create).await;
    let (printed, _) = transcript(&mut client, 0).await;
    assert_eq!(Bytes::from(printed), "SigBlk:\t0000000000000000\r\n");
    assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR2));
}
