//! A gateway that ends with its test, and pages of it.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use fugue_server::{
    SessionId,
    message::{LinkToken, Share, ViewerId},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::StatusCode},
};

use crate::support::*;

/// `fugue-server web`, as a process.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

impl Gateway {
    pub(crate) fn start(server: &TestServer) -> Self {
        Self::with(server, &[])
    }

    pub(crate) fn with(server: &TestServer, arguments: &[&str]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::spawn(server, &all)
    }

    /// The next one on the same address.
    pub(crate) fn again(self, server: &TestServer) -> Self {
        let address = self.address.to_string();
        drop(self);
        Self::spawn(server, &["--listen", &address])
    }

    /// With metrics at the address that is returned.
    pub(crate) fn with_metrics(server: &TestServer, more: &[&str]) -> (Self, SocketAddr) {
        let mut all = vec!["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
        all.extend(more);
        let mut command = command_of(server, &all);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let metrics = loop {
            let line = said.lines().find_map(|line| line.split_once("serving metrics on "));
            if let Some((_, address)) = line {
                break address.trim().parse().unwrap();
            }
            assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        };
        thread::spawn(move || io::copy(&mut stderr, &mut io::stderr()));
        (Self::ready(child), metrics)
    }

    fn spawn(server: &TestServer, arguments: &[&str]) -> Self {
        Self::ready(command_of(server, arguments).spawn().unwrap())
    }

    /// Waits until it says where it listens.
    fn ready(mut child: Child) -> Self {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("it says {line:?}"));
        Self { child, address, _stdout: stdout }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Asks for something over HTTP, with these lines in the head. Returns the head and the body.
    pub(crate) async fn ask(&self, lines: &[&str]) -> (String, Vec<u8>) {
        ask(self.address, lines).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts one, whatever becomes of it.
pub(crate) fn command(server: &TestServer, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = command_of(server, arguments).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn command_of(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    command.arg("--socket").arg(&server.socket).arg("web").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).env_remove("FUGUE_SOCKET");
    command
}

/// What is left to be read of a process's output.
pub(crate) fn rest(mut stdout: BufReader<ChildStdout>) -> String {
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    text
}

pub(crate) async fn ask(address: SocketAddr, lines: &[&str]) -> (String, Vec<u8>) {
    let mut stream = soon(TcpStream::connect(address)).await.unwrap();
    let request = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
    soon(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    // One that is refused may be reset.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end..].to_vec())
}

/// What a page is told.
#[derive(Debug)]
pub(crate) enum Told {
    Text(Value),
    /// Kind, offset and bytes.
    Binary(u8, u64, Vec<u8>),
    /// The websocket ended, with this code if it had one.
    Closed(Option<u16>),
}

/// A page: a websocket that a browser would have.
pub(crate) struct WebPage {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// Bytes of binary messages that came.
    pub(crate) received: u64,
    /// Whether it acknowledges them.
    pub(crate) acknowledges: bool,
    /// The offset of the output that comes next, once anything came.
    pub(crate) at: Option<u64>,
}

impl WebPage {
    /// Opens a websocket with these headers besides those that it needs.
    pub(crate) async fn open_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, StatusCode> {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match soon(client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Self::over(socket)),
            Err(tungstenite::Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    fn over(socket: WebSocketStream<TcpStream>) -> Self {
        Self { socket, received: 0, acknowledges: true, at: None }
    }

    pub(crate) async fn open(gateway: &Gateway) -> Self {
        let origin = format!("http://{}", gateway.address);
        Self::open_with(gateway.address, "/ws", &[("origin", &origin)]).await.unwrap()
    }

    /// Opens one, says hello, and returns it with the welcome.
    pub(crate) async fn enter(gateway: &Gateway, token: LinkToken) -> (Self, Value) {
        Self::enter_as(gateway, token, ViewerId::random(), json!({})).await
    }

    pub(crate) async fn enter_as(
        gateway: &Gateway,
        token: LinkToken,
        viewer: ViewerId,
        more: Value,
    ) -> (Self, Value) {
        let mut page = Self::open(gateway).await;
        page.hello(token, viewer, more).await;
        let welcome = page.text("welcome").await;
        (page, welcome)
    }

    /// As `enter_as`, where a gateway may be killed meanwhile, or not be there yet.
    pub(crate) async fn try_enter(
        address: SocketAddr,
        token: LinkToken,
        viewer: ViewerId,
        more: Value,
    ) -> Option<Self> {
        let stream = soon(TcpStream::connect(address)).await.ok()?;
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{address}").parse().unwrap());
        let mut page = Self::over(soon(client_async(request, stream)).await.ok()?.0);
        let hello = hello(token, viewer, &more).to_string();
        soon(page.socket.send(Message::text(hello))).await.ok()?;
        match page.next().await {
            Told::Text(value) if value["type"] == "welcome" => Some(page),
            Told::Closed(_) => None,
            told => panic!("before the welcome: {told:?}"),
        }
    }

    pub(crate) async fn hello(&mut self, token: LinkToken, viewer: ViewerId, more: Value) {
        self.say(hello(token, viewer, &more)).await;
    }

    pub(crate) async fn say(&mut self, message: Value) {
        soon(self.socket.send(Message::text(message.to_string()))).await.unwrap();
    }

    /// Types at an offset of a stream.
    pub(crate) async fn type_at(&mut self, stream: [u8; 16], offset: u64, data: &[u8]) {
        self.try_type_at(stream, offset, data).await.unwrap();
    }

    /// Types at an offset of a stream, to a gateway that may have been killed.
    pub(crate) async fn try_type_at(
        &mut self,
        stream: [u8; 16],
        offset: u64,
        data: &[u8],
    ) -> Result<(), tungstenite::Error> {
        let message = [&stream[..], &offset.to_le_bytes(), data].concat();
        soon(self.socket.send(Message::binary(message))).await
    }

    /// The next thing it is told.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Told::Text(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => {
                    let offset = u64::from_le_bytes(bytes[1..9].try_into().unwrap());
                    let length = bytes.len() as u64 - 9;
                    self.received += length;
                    self.at = Some(if bytes[0] == 0 { offset + length } else { offset });
                    if self.acknowledges {
                        let ack = json!({"type": "ack", "received": self.received}).to_string();
                        // What a gateway sent before it was killed is still there to be read.
                        let _ = soon(self.socket.send(Message::text(ack))).await;
                    }
                    return Told::Binary(bytes[0], offset, bytes[9..].to_vec());
                }
                Some(Ok(Message::Close(frame))) => return Told::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Told::Closed(None),
            }
        }
    }

    /// The next text of this kind. What comes before it is left out.
    pub(crate) async fn text(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Told::Text(value) if value["type"] == kind => return value,
                Told::Closed(code) => panic!("closed with {code:?}, and no {kind}"),
                _ => {}
            }
        }
    }

    /// The code that it is closed with, and the error before that.
    pub(crate) async fn closed(&mut self) -> (Option<u16>, Value) {
        let mut error = Value::Null;
        loop {
            match self.next().await {
                Told::Text(value) if value["type"] == "error" => error = value["code"].clone(),
                Told::Closed(code) => return (code, error),
                _ => {}
            }
        }
    }

    /// Reads until this is printed or drawn.
    pub(crate) async fn read_to(&mut self, text: &str) -> Vec<u8> {
        let mut all = Vec::new();
        while !contains(&all, text.as_bytes()) {
            match self.next().await {
                Told::Binary(_, _, bytes) => all.extend(bytes),
                Told::Closed(code) => panic!("closed with {code:?} after {}", String::from_utf8_lossy(&all)),
                Told::Text(_) => {}
            }
        }
        all
    }
}

fn hello(token: LinkToken, viewer: ViewerId, more: &Value) -> Value {
    let mut hello = json!({"type": "hello", "token": token.to_string(), "viewer": viewer.to_string(),
        "resume": null, "scrollback": 0, "view": "session"});
    hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hello
}

/// A link, by its secret.
pub(crate) async fn link(server: &TestServer, share: Share) -> LinkToken {
    soon(server.client().await.share(share)).await.unwrap().token
}

/// A link to one session, to watch it.
pub(crate) async fn link_to(server: &TestServer, session: SessionId) -> LinkToken {
    link(server, Share::of(session.into())).await
}
