//! What page and gateway say to each other: text messages are JSON, binary messages are output and typing.
//!
//! Pure functions: no socket, no clock. Whatever a page sends is decoded here, within bounds, or refused.

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    SessionId,
    client::Reached,
    message::{ExitStatus, InputPosition, InputStreamId, LinkToken, SessionInfo, SessionState, ViewerId},
};

/// The most that one message types, in bytes: as in any request to the server.
pub(super) const MAX_TYPED: usize = 64 * 1024;

/// Before what is typed: its stream and its offset.
const TYPED_HEAD: usize = 16 + 8;

/// The longest message a page may send: one that types, and room for a list of visible sessions.
pub(super) const MAX_FROM_PAGE: usize = MAX_TYPED + 1024;

/// The most sessions a page may want thumbnails of.
pub(super) const MAX_VISIBLE: usize = 256;

/// The most words of a command, and sessions of a list.
const MAX_COMMAND: usize = 1024;
const MAX_LISTED: usize = 1000;

/// A text message of a page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum FromPage {
    Hello(PageHello),
    /// So many bytes of binary messages were taken, of this connection's.
    Ack {
        received: u64,
    },
    /// The session is to have this size.
    Claim {
        columns: u16,
        rows: u16,
    },
    Follow,
    Resync,
    Ping,
    List,
    /// These thumbnails are visible.
    Watch {
        sessions: Vec<SessionId>,
    },
    Open {
        session: SessionId,
    },
    /// Back from a session to the index.
    Close,
    /// A session; without a name it gets one.
    New {
        name: Option<String>,
        #[serde(default)]
        command: Vec<String>,
    },
    Kill {
        session: SessionId,
    },
}

/// The first message of a page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct PageHello {
    pub(super) token: String,
    pub(super) viewer: String,
    pub(super) resume: Option<PageResume>,
    #[serde(default)]
    pub(super) scrollback: u32,
    #[serde(default)]
    pub(super) view: PageView,
}

/// Where a page was on the connection before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct PageResume {
    pub(super) session: SessionId,
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) after: PageAfter,
}

/// What came last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PageAfter {
    #[default]
    Output,
    Screen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PageView {
    #[default]
    Session,
    Index,
}

impl PageResume {
    /// How far the page is; nothing if it only says which session.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.offset.map(|offset| match self.after {
            PageAfter::Output => Reached::Output(offset),
            PageAfter::Screen => Reached::Screen(offset),
        })
    }
}

/// A message of a page that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page sent what is not a message ({0}); reload it")]
pub(super) struct NoMessage(&'static str);

impl FromPage {
    /// Reads a text message.
    pub(super) fn decode(text: &str) -> Result<Self, NoMessage> {
        if text.len() > MAX_FROM_PAGE {
            return Err(NoMessage("too long"));
        }
        let message = serde_json::from_str(text).map_err(|_| NoMessage("not one of its types"))?;
        match &message {
            Self::Hello(hello) if !hello.is_well_formed() => Err(NoMessage("a hello that is wrong")),
            Self::Watch { sessions } if sessions.len() > MAX_VISIBLE => Err(NoMessage("too many sessions")),
            Self::New { command, .. } if command.len() > MAX_COMMAND => Err(NoMessage("too many words")),
            _ => Ok(message),
        }
    }
}

impl PageHello {
    fn is_well_formed(&self) -> bool {
        self.token.parse::<LinkToken>().is_ok() && self.viewer.parse::<ViewerId>().is_ok()
    }
}

/// A binary message of a page: what is typed, and its place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypedByPage {
    pub(super) position: InputPosition,
    pub(super) data: Bytes,
}

impl TypedByPage {
    /// Reads a binary message.
    pub(super) fn decode(message: &Bytes) -> Result<Self, NoMessage> {
        let Some((head, data)) = message.split_first_chunk::<TYPED_HEAD>() else {
            return Err(NoMessage("too short"));
        };
        if data.is_empty() || data.len() > MAX_TYPED {
            return Err(NoMessage("nothing typed, or too much"));
        }
        let mut stream = [0; 16];
        let mut offset = [0; 8];
        stream.copy_from_slice(&head[..16]);
        offset.copy_from_slice(&head[16..]);
        let stream = InputStreamId::from_bytes(stream).ok_or(NoMessage("no stream"))?;
        let offset = u64::from_le_bytes(offset);
        if offset.checked_add(data.len() as u64).is_none() {
            return Err(NoMessage("no offset"));
        }
        Ok(Self { position: InputPosition { stream, offset }, data: message.slice(TYPED_HEAD..) })
    }

    /// The offset after it.
    pub(super) fn end(&self) -> u64 {
        self.position.offset + self.data.len() as u64
    }
}

/// A text message to a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ToPage<'a> {
    Welcome {
        version: &'a str,
        scope: &'a str,
        access: &'a str,
        session: Option<PageSession<'a>>,
    },
    Attached {
        session: SessionId,
        name: &'a str,
        columns: u16,
        rows: u16,
        offset: u64,
        resumed: bool,
    },
    Gap {
        from: u64,
        to: u64,
    },
    Resized {
        columns: u16,
        rows: u16,
    },
    Title {
        title: Option<&'a str>,
    },
    /// The program has all of a stream below this offset.
    Input {
        stream: String,
        offset: u64,
    },
    Lag {
        bytes: u64,
    },
    Viewers {
        count: usize,
    },
    Notice {
        text: &'a str,
    },
    Ended {
        status: Option<PageStatus>,
        text: String,
    },
    Sessions {
        sessions: Vec<ListedSession<'a>>,
    },
    Thumbnail {
        session: SessionId,
        columns: u16,
        rows: u16,
        drawing: String,
    },
    Created {
        session: SessionId,
    },
    Error {
        code: PageError,
        text: &'a str,
    },
    Pong,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PageSession<'a> {
    pub(super) id: SessionId,
    pub(super) name: &'a str,
    pub(super) title: Option<&'a str>,
}

/// What kind of error a page is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PageError {
    Link,
    ReadOnly,
    Restricted,
    Full,
    Server,
    Malformed,
    /// What was typed did not arrive, and can't be sent again.
    Input,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PageStatus {
    Code(i32),
    Signal(i32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ListedSession<'a> {
    id: SessionId,
    name: &'a str,
    title: Option<&'a str>,
    command: &'a str,
    /// `running`, or how it ended.
    state: String,
    columns: u16,
    rows: u16,
    clients: usize,
    idle_seconds: u64,
    unseen: u64,
    bell: bool,
}

impl<'a> From<&'a SessionInfo> for ListedSession<'a> {
    fn from(info: &'a SessionInfo) -> Self {
        Self {
            id: info.id,
            name: info.name.as_str(),
            title: info.title.as_deref(),
            command: &info.command,
            state: match info.state {
                SessionState::Running { .. } | SessionState::Provided { .. } => "running".to_owned(),
                SessionState::Ended(status) => status.to_string(),
            },
            columns: info.size.cols(),
            rows: info.size.rows(),
            clients: info.clients,
            // By tens: a list is sent again when it has changed.
            idle_seconds: info.idle_seconds / 10 * 10,
            unseen: info.unseen,
            bell: info.bell,
        }
    }
}

impl<'a> ToPage<'a> {
    pub(super) fn sessions(sessions: &'a [SessionInfo]) -> Self {
        Self::Sessions { sessions: sessions.iter().take(MAX_LISTED).map(ListedSession::from).collect() }
    }

    pub(super) fn ended(status: ExitStatus) -> Self {
        let text = status.to_string();
        let status = match status {
            ExitStatus::Code(code) => Some(PageStatus::Code(code)),
            ExitStatus::Signal(signal) => Some(PageStatus::Signal(signal)),
            ExitStatus::Unknown => None,
        };
        Self::Ended { status, text }
    }

    pub(super) fn typed(stream: InputStreamId, offset: u64) -> Self {
        let stream = stream.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Self::Input { stream, offset }
    }

    pub(super) fn text(&self) -> String {
        // Nothing here is a map with keys that are no strings, which alone would fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn message(&self) -> Message {
        Message::Text(Utf8Bytes::from(self.text()))
    }
}

/// What a binary message to a page brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Output = 0,
    Screen = 1,
}

/// A binary message: its kind, an offset, and bytes.
pub(super) fn binary(piece: Piece, offset: u64, bytes: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(1 + 8 + bytes.len());
    message.put_u8(piece as u8);
    message.put_u64_le(offset);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

/// Bytes as a page may send them, as text and as binary: what is accepted is within bounds, and reads as it was meant.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input)
        && let Ok(message) = FromPage::decode(text)
    {
        match message {
            FromPage::Hello(hello) => {
                let viewer: ViewerId = hello.viewer.parse().expect("32 digits");
                assert_eq!(viewer.to_string(), hello.viewer.to_lowercase());
                assert!(hello.token.parse::<LinkToken>().is_ok_and(|token| token.to_string() == hello.token));
                let at = |resume: PageResume| resume.reached().map(Reached::offset) == resume.offset;
                assert!(hello.resume.is_none_or(at));
            }
            FromPage::Watch { sessions } => assert!(sessions.len() <= MAX_VISIBLE),
            FromPage::New { command, .. } => assert!(command.len() <= MAX_COMMAND),
            _ => {}
        }
    }
    let message = Bytes::copy_from_slice(input);
    if let Ok(typed) = TypedByPage::decode(&message) {
        assert!((1..=MAX_TYPED).contains(&typed.data.len()));
        let head = [&typed.position.stream.to_bytes()[..], &typed.position.offset.to_le_bytes()].concat();
        assert_eq!([&head[..], &typed.data].concat(), input);
        assert_eq!(typed.end() - typed.position.offset, typed.data.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODw";
    const VIEWER: &str = "000102030405060708090a0b0c0d0e0f";

    fn hello(token: &str, viewer: &str) -> String {
        format!(
            r#"{{"type":"hello","token":"{token}","viewer":"{viewer}","resume":null,"scrollback":9,"view":"index"}}"#
        )
    }

    #[test]
    fn messages_of_a_page_are_read() {
        let id = SessionId::from(7_u64);
        let read = |text: &str| FromPage::decode(text).unwrap();
        let FromPage::Hello(read_hello) = read(&hello(TOKEN, VIEWER)) else { panic!() };
        assert_eq!((&*read_hello.token, &*read_hello.viewer), (TOKEN, VIEWER));
        assert_eq!((read_hello.scrollback, read_hello.view), (9, PageView::Index));
        assert_eq!(read(r#"{"type":"ack","received":12}"#), FromPage::Ack { received: 12 });
        assert_eq!(read(r#"{"type":"resync","more":[]}"#), FromPage::Resync);
        assert_eq!(
            read(&format!(r#"{{"type":"watch","sessions":["{id}"]}}"#)),
            FromPage::Watch { sessions: vec![id] }
        );
        let resume = format!(r#"{{"session":"{id}","offset":5,"after":"screen"}}"#);
        let resume: PageResume = serde_json::from_str(&resume).unwrap();
        assert_eq!(resume.reached(), Some(Reached::Screen(5)));
    }

    #[test]
    fn what_is_no_message_of_a_page_is_refused() {
        let many = vec![format!("\"{}\"", SessionId::from(7_u64)); MAX_VISIBLE + 1].join(",");
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"type":"shout"}"#,
            r#"{"type":"ack","received":-1}"#,
            r#"{"type":"ack","received":1.5}"#,
            r#"{"type":"claim","columns":70000,"rows":1}"#,
            &hello(&TOKEN[1..], VIEWER),
            &hello("AAECAwQFBgcICQoLDA0OD+", VIEWER),
            &hello(TOKEN, &VIEWER[1..]),
            &format!(r#"{{"type":"watch","sessions":[{many}]}}"#),
            &" ".repeat(MAX_FROM_PAGE + 1),
        ] {
            assert!(FromPage::decode(wrong).is_err(), "{wrong:.100}");
        }
    }

    #[test]
    fn what_is_typed_comes_with_its_place() {
        let message = |offset: u64, data: &[u8]| -> Bytes {
            [&[7; 16][..], &offset.to_le_bytes(), data].concat().into()
        };
        let typed = TypedByPage::decode(&message(300, b"ls")).unwrap();
        assert_eq!((typed.position.offset, typed.end(), &typed.data[..]), (300, 302, &b"ls"[..]));
        assert_eq!(typed.position.stream.to_bytes(), [7; 16]);
        let zero: Bytes = vec![0; 30].into();
        for wrong in [
            message(0, b""),
            message(0, &vec![b'x'; MAX_TYPED + 1]),
            message(u64::MAX, b"x"),
            zero,
            Bytes::from_static(b"short"),
        ] {
            assert!(TypedByPage::decode(&wrong).is_err());
        }
        assert!(TypedByPage::decode(&message(0, &vec![b'x'; MAX_TYPED])).is_ok());
    }

    #[test]
    fn messages_to_a_page_look_as_it_expects() {
        for (message, text) in [
            (ToPage::Pong, r#"{"type":"pong"}"#),
            (
                ToPage::ended(ExitStatus::Code(3)),
                r#"{"type":"ended","status":{"code":3},"text":"exit status 3"}"#,
            ),
            (
                ToPage::ended(ExitStatus::Unknown),
                r#"{"type":"ended","status":null,"text":"exit status unknown"}"#,
            ),
            (
                ToPage::Error { code: PageError::ReadOnly, text: "no" },
                r#"{"type":"error","code":"read-only","text":"no"}"#,
            ),
        ] {
            assert_eq!(message.text(), text);
        }
        let Message::Binary(message) = binary(Piece::Screen, 258, b"x") else { panic!() };
        assert_eq!(&message[..], &[1, 2, 1, 0, 0, 0, 0, 0, 0, b'x']);
    }
}
