//! A viewer without a browser: a websocket, and how each system frames what it sends over it.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use bytes::Bytes;
use fugue_server::message::ViewerId;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Mutex};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// Before output: its kind, and its offset.
const HEAD: usize = 9;
const OUTPUT: u8 = 0;

/// What is typed belongs to a stream. Each page that types has a session to itself here.
const STREAM: [u8; 16] = [7; 16];

/// Our page acknowledges each so many bytes.
const ACKNOWLEDGED: u64 = 64 * 1024;

/// Where a program is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) protocol: Protocol,
}

/// What is said over the websocket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Protocol {
    /// A link's secret first, then output with offsets, which is acknowledged.
    Fugue { token: String },
    /// Binary messages in both directions.
    Bare,
    /// JSON arrays: what kind, and text.
    Terminado,
    /// Events of Socket.IO, in a namespace.
    Pyxtermjs,
}

impl Place {
    /// What a person would open.
    pub(crate) fn link(&self) -> Option<String> {
        match &self.protocol {
            Protocol::Fugue { token } => Some(format!("http://{}/s/#{token}", self.address)),
            _ => None,
        }
    }
}

/// A page that watches.
pub(crate) struct Page {
    keys: Keys,
    stream: SplitStream<WebSocketStream<TcpStream>>,
    /// The offset of what comes next, where there are offsets.
    at: u64,
    received: u64,
    acknowledged: u64,
}

/// What types into a page.
#[derive(Clone)]
pub(crate) struct Keys {
    protocol: Protocol,
    sink: Arc<Mutex<SplitSink<WebSocketStream<TcpStream>, Message>>>,
    typed: u64,
}

impl Page {
    /// Opens it, and waits until it is shown what is printed.
    pub(crate) async fn open(place: &Place) -> anyhow::Result<Self> {
        let Place { address, path, protocol } = place;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        request.headers_mut().insert("origin", format!("http://{address}").parse()?);
        let (sink, stream) = client_async(request, stream).await?.0.split();
        let keys = Keys { protocol: protocol.clone(), sink: Arc::new(Mutex::new(sink)), typed: 0 };
        let mut page = Self { keys, stream, at: 0, received: 0, acknowledged: 0 };
        page.enter(protocol).await.context("a page was not let in")?;
        Ok(page)
    }

    async fn enter(&mut self, protocol: &Protocol) -> anyhow::Result<()> {
        match protocol {
            Protocol::Bare => {}
            Protocol::Fugue { token } => {
                let viewer = ViewerId::random().to_string();
                let hello = json!({"type": "hello", "token": token, "viewer": viewer, "resume": null,
                    "scrollback": 0, "view": "session"});
                self.keys.say(hello.to_string()).await?;
                let attached = self.text(|text| text.contains(r#""type":"attached""#)).await?;
                let attached: Value = serde_json::from_str(&attached)?;
                self.at = attached["offset"].as_u64().context("no offset")?;
            }
            Protocol::Terminado => drop(self.text(|text| text.starts_with(r#"["setup""#)).await?),
            Protocol::Pyxtermjs => {
                self.text(|text| text.starts_with('0')).await?;
                self.keys.say("40/pty,".to_owned()).await?;
                self.text(|text| text.starts_with("40/pty,")).await?;
            }
        }
        Ok(())
    }

    async fn message(&mut self) -> anyhow::Result<Message> {
        Ok(self.stream.next().await.context("the websocket ended")??)
    }

    /// The next text of this kind; what comes before it is left out.
    async fn text(&mut self, is_it: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        loop {
            match self.message().await? {
                Message::Text(text) if is_it(&text) => return Ok(text.as_str().to_owned()),
                Message::Text(text) if text.contains(r#""type":"error""#) => bail!("it was told {text}"),
                Message::Close(frame) => bail!("it was closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next output. Whatever was sent before it is seen to.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            let message = self.message().await?;
            let output = match (&self.keys.protocol, message) {
                (_, Message::Close(frame)) => bail!("it was closed: {frame:?}"),
                (Protocol::Fugue { .. }, Message::Binary(bytes)) => self.numbered(bytes).await?,
                (Protocol::Bare, Message::Binary(bytes)) => Some(bytes),
                (Protocol::Fugue { .. }, Message::Text(text)) if text.contains(r#""type":"gap""#) => {
                    bail!("bytes were missed: {text}")
                }
                (Protocol::Terminado, Message::Text(text)) if text.starts_with(r#"["stdout""#) => {
                    let (_, output): (&str, String) = serde_json::from_str(&text)?;
                    Some(output.into())
                }
                (Protocol::Pyxtermjs, Message::Text(text)) => self.event(text.as_str()).await?,
                _ => None,
            };
            if let Some(output) = output {
                return Ok(output);
            }
        }
    }

    /// Output with its offset, or a screen.
    async fn numbered(&mut self, bytes: Bytes) -> anyhow::Result<Option<Bytes>> {
        let (head, output) = (bytes.get(..HEAD).context("a short message")?, bytes.slice(HEAD..));
        let mut offset = [0; 8];
        offset.copy_from_slice(&head[1..]);
        let offset = u64::from_le_bytes(offset);
        self.received += output.len() as u64;
        if self.received - self.acknowledged >= ACKNOWLEDGED {
            self.acknowledged = self.received;
            self.keys.say(format!(r#"{{"type":"ack","received":{}}}"#, self.received)).await?;
        }
        if head[0] != OUTPUT {
            self.at = offset;
            return Ok(None);
        }
        anyhow::ensure!(offset == self.at, "output at {offset} came after {}", self.at);
        self.at += output.len() as u64;
        Ok(Some(output))
    }

    async fn event(&mut self, text: &str) -> anyhow::Result<Option<Bytes>> {
        #[derive(Deserialize)]
        struct Printed {
            output: String,
        }
        if text == "2" {
            self.keys.say("3".to_owned()).await?;
            return Ok(None);
        }
        let Some(event) = text.strip_prefix("42/pty,") else { return Ok(None) };
        let (_, printed): (&str, Printed) = serde_json::from_str(event)?;
        Ok(Some(printed.output.into()))
    }

    pub(crate) async fn type_in(&mut self, keys: &[u8]) -> anyhow::Result<()> {
        self.keys.type_in(keys).await
    }

    /// What types into it while it is read. It types nothing itself from then on.
    pub(crate) fn keys(&self) -> Keys {
        self.keys.clone()
    }
}

impl Keys {
    pub(crate) async fn type_in(&mut self, keys: &[u8]) -> anyhow::Result<()> {
        let text = str::from_utf8(keys)?;
        let message = match &self.protocol {
            Protocol::Fugue { .. } => {
                let place = [&STREAM[..], &self.typed.to_le_bytes()].concat();
                Message::binary([&place, keys].concat())
            }
            Protocol::Bare => Message::binary(keys.to_vec()),
            Protocol::Terminado => Message::text(json!(["stdin", text]).to_string()),
            Protocol::Pyxtermjs => Message::text(format!("42/pty,{}", json!(["pty-input", {"input": text}]))),
        };
        self.typed += keys.len() as u64;
        Ok(self.sink.lock().await.send(message).await?)
    }

    async fn say(&self, text: String) -> anyhow::Result<()> {
        Ok(self.sink.lock().await.send(Message::text(text)).await?)
    }
}
