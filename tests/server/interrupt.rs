//! An interrupt is seen at once, however much was printed before it.

use fugue_server::message::{OnLag, StartAt};

use crate::support::*;

/// A flood that an interrupt ends.
const FLOOD: &str = "trap 'printf the-prompt; exec cat' INT; stty -echo; printf ready; read go; \
                     while :; do echo 'one of very many lines that nobody reads any more'; done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_skips_a_flood_for_its_client_alone() {
    let server = TestServer::start();
    let mut asking = server.client().await;
    create(&mut asking, "a", FLOOD).await;
    let terminal = TERMINAL.with_start(StartAt::Oldest);
    let mut interrupts = Viewer::attach(&server, &attach("a", terminal)).await;
    let mut lossless = Viewer::attach(&server, &attach("a", FROM_OLDEST)).await;
    let mut other = Viewer::attach(&server, &attach("a", terminal)).await;
    interrupts.type_in("\n").await;
    // Nobody reads, so the program stands still with a window of output unsent.
    while sessions(&mut asking).await[0].printed < 1 << 20 {}
    let behind = client_stats(&mut asking, interrupts.client.id()).await;
    assert!(behind.lag_bytes > 256 * 1024, "{behind:?}");

    interrupts.type_in("\x03").await;
    // The lossless client holds the program back; when it reads, the program sees the interrupt.
    let reading = tokio::spawn(async move {
        lossless.run_until_shown("the-prompt").await;
        lossless
    });
    interrupts.run_until_shown("the-prompt").await;
    let lossless = soon(reading).await.unwrap();
    other.run_until_shown("the-prompt").await;

    assert_eq!(interrupts.screens, 1);
    assert!(interrupts.gaps.is_empty());
    let purged = client_stats(&mut asking, interrupts.client.id()).await;
    assert_eq!(purged.purges, 1);
    assert!(purged.skipped_bytes > 256 * 1024, "{purged:?}");
    assert_eq!(lossless.screens + other.screens, 0);
    assert_eq!(lossless.output, other.output);
    assert_eq!(lossless.at, lossless.output.len() as u64);
    assert_eq!(interrupts.state(), other.state());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_interrupts_nothing_drops_nothing() {
    // Without ISIG the character is input like any other; and who wants every byte gets every byte.
    for (set_up, view) in [
        ("stty -isig", TERMINAL),
        ("stty intr ^B", TERMINAL),
        ("stty intr undef", TERMINAL),
        // The kernel itself drops what it holds, unless it is told not to.
        ("stty noflsh", TERMINAL.with_on_lag(OnLag::Lossless)),
        ("stty noflsh", TERMINAL.with_on_lag(OnLag::Disconnect)),
    ] {
        let server = TestServer::start();
        let script = format!(
            "trap '' INT; {set_up}; stty -echo -opost; printf ready; read go; seq 1 200000; printf end; read end"
        );
        let mut viewer = Viewer::attach(&server, &shell("a", &script, Some(view))).await;
        viewer.run_until_shown("ready").await;
        viewer.type_in("\n").await;
        let mut asking = server.client().await;
        while sessions(&mut asking).await[0].printed < 1 << 20 {}
        viewer.type_in("\x03").await;
        viewer.run_until(|viewer| viewer.output.ends_with(b"end")).await;
        assert_eq!(viewer.screens, 0, "{set_up} {view:?}");
        assert_eq!(client_stats(&mut asking, viewer.client.id()).await.purges, 0);
        let numbers: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
        assert!(viewer.output == format!("ready{numbers}end").into_bytes());
    }
}
