//! Sessions that a client provides, as people see them, and with servers that are replaced.

use std::{
    io::{Read, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fugue_server::{
    Client, TerminalSize,
    client::{ProvideError, Provider},
    message::{ExitStatus, Provide, ProviderNews, Takes},
};
use rustix::process::Signal;

use super::{Home, eventually, wait};

fn provide() -> Provide {
    let mut provide = Provide::new("mirror".parse().unwrap(), TerminalSize::DEFAULT);
    (provide.takes, provide.command) = (Takes::Requests, "make all".to_owned());
    provide
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn begin(socket: &Path, provide: &Provide) -> Provider {
    let start = Instant::now();
    loop {
        if let Ok(client) = Client::connect(socket).await
            && let Ok(provider) = Provider::begin(client, provide.clone()).await
        {
            return provider;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no server");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does what is asked: it takes what is typed and prints it, and ends as it is told.
async fn serve(mut provider: Provider) {
    loop {
        match provider.next().await.unwrap() {
            ProviderNews::Typed { number, data, .. } => {
                provider.print(data).await.unwrap();
                provider.answer(number, Ok(())).await.unwrap();
            }
            ProviderNews::Kill { number } => {
                provider.answer(number, Ok(())).await.unwrap();
                return provider.end(ExitStatus::Signal(1)).await.unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn a_provided_session_is_listed_typed_into_waited_for_and_killed() {
    let home = Home::new();
    home.succeed(&["new", "other", "-d", "--", "sleep", "1000"]);
    let (runtime, socket) = (runtime(), home.socket());
    let serving = runtime.spawn(async move { serve(begin(&socket, &provide()).await).await });
    eventually("it is there", || home.succeed(&["list"]).contains("mirror"));
    let listed = home.session("mirror");
    assert_eq!((&listed["provided"], &listed["running"]), (&true.into(), &true.into()));
    assert_eq!(listed["command"], "make all");
    let list = home.succeed(&["list"]);
    assert!(list.contains("provided") && list.contains("make all"), "{list}");
    let mut sending = home.command(&["send", "mirror"]).stdin(Stdio::piped()).spawn().unwrap();
    sending.stdin.take().unwrap().write_all(b"typed").unwrap();
    assert!(wait(&mut sending).success());
    eventually("it is typed", || home.succeed(&["screen", "mirror"]).contains("typed"));
    home.succeed(&["wait", "mirror", "--for", "typed"]);
    let mut terminal = home.terminal(&["attach", "mirror"]);
    terminal.wait_for("typed");
    terminal.type_in(" by hand");
    terminal.wait_for("typed by hand");
    let mut waiting = home.command(&["wait", "mirror"]).spawn().unwrap();
    home.succeed(&["kill", "mirror"]);
    runtime.block_on(serving).unwrap();
    assert_eq!(wait(&mut waiting).code(), Some(129));
    terminal.ends_with(129);
    assert_eq!(home.session("other")["running"], true);
}

#[test]
fn a_provided_session_goes_to_the_next_server_to_the_byte() {
    let home = Home::new();
    home.succeed(&["new", "other", "-d", "--", "sleep", "1000"]);
    let (runtime, socket) = (runtime(), home.socket());
    let whole: Bytes = (0..400_000).map(|number| format!("{number:07}\n")).collect::<String>().into();
    let provided = provide();
    let first = runtime.block_on(begin(&socket, &provided));
    let mut recorder = home.command(&["attach", "mirror", "--from", "start"]);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("mirror")["clients"] == 1);
    let printed = whole.clone();
    let printing = runtime.spawn(async move {
        let (mut provider, mut begun) = (first, 1);
        loop {
            let at = usize::try_from(provider.head()).unwrap();
            let next = printed.slice(at..printed.len().min(at + 10_000));
            let said = if next.is_empty() {
                match provider.end(ExitStatus::Code(5)).await {
                    Ok(()) => return begun,
                    Err(error) => Err(error),
                }
            } else {
                let said = provider.print(next).await;
                if said.is_ok() {
                    continue;
                }
                said
            };
            assert!(matches!(said, Err(ProvideError::Closed(_))), "{said:?}");
            (provider, begun) = (begin(&socket, &provided).await, begun + 1);
        }
    });
    let reading = std::thread::spawn({
        let mut output = recorder.stdout.take().unwrap();
        move || {
            let mut all = Vec::new();
            output.read_to_end(&mut all).unwrap();
            all
        }
    });
    for _ in 0..2 {
        home.succeed(&["restart"]);
    }
    let begun = runtime.block_on(printing).unwrap();
    let output = reading.join().unwrap();
    let mut said = String::new();
    recorder.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(output == whole, "{} bytes of {}: {said}", output.len(), whole.len());
    assert_eq!(wait(&mut recorder).code(), Some(5));
    assert!(begun > 1, "no server was replaced while it was printed to");
}

#[test]
fn a_server_that_was_killed_is_provided_to_from_where_it_was() {
    let home = Home::new();
    home.succeed(&["new", "other", "-d", "--", "sleep", "1000"]);
    let (runtime, socket) = (runtime(), home.socket());
    let mut provided = provide();
    runtime.block_on(async {
        let mut provider = begin(&socket, &provided).await;
        provider.print("before".into()).await.unwrap();
        home.signal_server(Signal::KILL);
        while provider.next().await.is_ok() {}
        home.succeed(&["new", "another", "-d", "--", "sleep", "1000"]);
        provided.start = provider.head();
        let mut provider = begin(&socket, &provided).await;
        assert_eq!(provider.head(), 6);
        provider.skip(6, Bytes::from_static(b"\x1bcbefore")).await.unwrap();
        provider.print(" and after".into()).await.unwrap();
        let shown = || home.succeed(&["screen", "mirror"]);
        eventually("it shows all", || shown().contains("before and after"));
        provider.end(ExitStatus::Code(0)).await.unwrap();
    });
}
