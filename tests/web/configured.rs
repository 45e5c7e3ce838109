//! A gateway that configuration files set up, started by its person and by `share`.

use std::{fs, path::Path, process::Output};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
};

use crate::support::*;

/// Runs a command with a configuration of this text.
async fn run(server: &TestServer, directory: &Path, text: &str, arguments: &[&str]) -> Output {
    let config = directory.join("config.toml");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    command.arg("--socket").arg(&server.socket).args(arguments).env("FUGUE_CONFIG", config);
    soon(command.output()).await.unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asks for something over a Unix socket, as a reverse proxy does.
async fn ask_behind(socket: &Path, path: &str, host: &str) -> String {
    let mut stream = soon(UnixStream::connect(socket)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    soon(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn share_starts_the_gateway_that_the_configuration_says() {
    let server = TestServer::start();
    create(&mut server.client().await, "a", "exec sleep 1000").await;
    let directory = tempfile::tempdir().unwrap();
    let [pages, metrics] = ["web", "metrics"].map(|name| directory.path().join(name));
    let text = format!(
        "[share]\nfor = '2d'\n[web]\nlisten = 'unix:{}'\nhost = ['a.example', 'b.example']\nbase = '/t/'\n\
         metrics = 'unix:{}'\nsession-metrics = true\nmax-viewers = 7\n",
        pages.display(),
        metrics.display()
    );
    let shared = run(&server, directory.path(), &text, &["share", "a"]).await;
    let link = printed(&shared);
    assert!(link.starts_with("https://a.example/t/s/#"), "behind a proxy of that name: {link}");
    let note = String::from_utf8(shared.stderr).unwrap();
    assert!(note.contains("for 2 days"), "{note}");

    for (path, host, expected) in [
        ("/t/s/", "a.example", true),
        ("/t/s/", "b.example", true),
        ("/s/", "a.example", false),
        ("/t/s/", "c.example", false),
    ] {
        let answer = ask_behind(&pages, path, host).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), expected, "{path} {host}: {answer}");
    }
    let told = ask_behind(&metrics, "/metrics", "localhost").await;
    assert!(told.contains("fugue_web_viewers_max 7\n") && told.contains("session=\"a\""), "{told}");

    // What is typed wins over the file, and the gateway that runs is used.
    let shared =
        run(&server, directory.path(), &text, &["share", "a", "--for", "forever", "--uses", "3"]).await;
    assert!(printed(&shared).starts_with("https://a.example/t/s/#"));
    let links = run(&server, directory.path(), "", &["shares", "--json"]).await;
    let links: serde_json::Value = serde_json::from_str(&printed(&links)).unwrap();
    assert_eq!((&links[1]["uses"], &links[1]["expires_seconds"]), (&3.into(), &serde_json::Value::Null));
    assert!(links[0]["expires_seconds"].as_u64() > Some(172_000), "{links}");
}

#[tokio::test]
async fn a_configuration_that_would_serve_in_plain_by_mistake_is_refused() {
    let server = TestServer::start();
    let directory = tempfile::tempdir().unwrap();
    for (text, arguments, hint) in [
        ("web.listen = '0.0.0.0:0'", &["web"][..], "say --plain"),
        ("web.cert = 'cert.pem'", &["web"], "both a certificate and its key"),
        (
            "[web]\nlisten = '0.0.0.0:0'\nkey = 'key.pem'\nplain = true",
            &["web"],
            "both a certificate and its key",
        ),
        ("web.listen = 'here'", &["web"], "web.listen can't be"),
        ("web.max-viewers = 'x'", &["web"], "web.max-viewers is a whole number"),
    ] {
        let said = refused(&run(&server, directory.path(), text, arguments).await);
        assert!(said.contains(hint), "{text}: {said}");
    }
    // `share` says why the gateway that it started did not come up, and prints the link all the same.
    create(&mut server.client().await, "a", "exec sleep 1000").await;
    let shared = run(&server, directory.path(), "web.listen = '0.0.0.0:0'", &["share", "a"]).await;
    assert!(printed(&shared).starts_with("http://127.0.0.1:7681/s/#"));
    let said = String::from_utf8(shared.stderr).unwrap();
    assert!(said.contains("no browser can open it yet") && said.contains("say --plain"), "{said}");
}
