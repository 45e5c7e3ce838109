//! A page that shows all sessions: their list, and pictures of those that are visible.

use std::{collections::HashMap, env, os::unix::ffi::OsStringExt};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    super::protocol::{FromPage, PageError, ToPage},
    Asked, Farewell, MAX_TEXT, Viewer,
};
use crate::{
    SessionId, SessionName, TerminalSize,
    message::{ClientMessage, Create, Reply, SessionInfo},
};

/// What a page shows of all sessions.
#[derive(Debug, Default)]
pub(super) struct IndexView {
    visible: Vec<SessionId>,
    /// The sessions whose picture it has, as they were then.
    shown: HashMap<SessionId, (u64, TerminalSize)>,
    /// The list that it has.
    list: String,
    is_asking: bool,
}

impl Viewer {
    /// Tells the page what a second has brought.
    pub(super) async fn look_around(&mut self) -> Result<(), Farewell> {
        // A page that takes nothing is told later, what is true then.
        if !self.outbox.is_empty() {
            return Ok(());
        }
        if self.index.is_some() {
            self.send_list();
            return self.ask_for_picture().await;
        }
        self.look_at_session().await
    }

    /// Sends the list, if it is another than the page has.
    fn send_list(&mut self) {
        let (Some(index), Some(seen)) = (&mut self.index, &self.seen) else { return };
        let list = ToPage::sessions(seen);
        let (message, text) = (list.message(), list.text());
        if text != index.list && text.len() <= MAX_TEXT {
            self.outbox.push(message);
            index.list = text;
        }
    }

    /// Asks for the next picture that is not what its session shows, one at a time.
    async fn ask_for_picture(&mut self) -> Result<(), Farewell> {
        let (Some(index), Some(seen)) = (&mut self.index, &self.seen) else { return Ok(()) };
        if index.is_asking {
            return Ok(());
        }
        let is_due = |info: &&SessionInfo| {
            info.is_held
                && index.visible.contains(&info.id)
                && index.shown.get(&info.id) != Some(&(info.printed, info.size))
        };
        let Some(info) = seen.iter().find(is_due) else { return Ok(()) };
        let session = info.id;
        index.shown.insert(session, (info.printed, info.size));
        index.is_asking = true;
        let request = ClientMessage::ReadScreen { session: session.into(), lines: 0 };
        self.ask(&request, Asked::Thumbnail(session)).await
    }

    /// Sends a picture on.
    pub(super) async fn thumbnail(
        &mut self,
        session: SessionId,
        answer: Option<Reply>,
    ) -> Result<(), Farewell> {
        let Some(index) = &mut self.index else { return Ok(()) };
        index.is_asking = false;
        if let Some(Reply::Screen(screen)) = answer.filter(|_| index.visible.contains(&session)) {
            let drawing = STANDARD.encode(&screen.drawing);
            if drawing.len() < MAX_TEXT {
                let (columns, rows) = (screen.size.cols(), screen.size.rows());
                self.outbox.push(ToPage::Thumbnail { session, columns, rows, drawing }.message());
            }
        }
        self.ask_for_picture().await
    }

    pub(super) async fn back_to_index(&mut self) -> Result<(), Farewell> {
        self.index = Some(IndexView::default());
        self.typing.forget();
        self.watched = None;
        self.ask(&ClientMessage::Detach, Asked::Other).await?;
        self.send_list();
        Ok(())
    }

    /// What the owner's page asks for, and no other may.
    pub(super) async fn page_manages(&mut self, message: FromPage) -> Result<(), Farewell> {
        if self.link.session.is_some() {
            self.tell(
                PageError::Restricted,
                "this link is for one session only; ask who shared it for another",
            );
            return Ok(());
        }
        match message {
            FromPage::List => {
                if let Some(index) = &mut self.index {
                    index.list.clear();
                }
                self.send_list();
                Ok(())
            }
            FromPage::Watch { sessions } => {
                if let Some(index) = &mut self.index {
                    index.shown.retain(|shown, _| sessions.contains(shown));
                    index.visible = sessions;
                }
                self.ask_for_picture().await
            }
            FromPage::New { name, command } => {
                let name = name.filter(|name| !name.is_empty());
                match name.as_deref().map(str::parse::<SessionName>) {
                    Some(Ok(name)) => {
                        self.ask(&ClientMessage::Create(create(name, command)), Asked::New(None)).await
                    }
                    Some(Err(error)) => {
                        self.tell(PageError::Server, &error.to_string());
                        Ok(())
                    }
                    None => self.start(UnnamedSession { command, number: 0 }).await,
                }
            }
            FromPage::Kill { session } => {
                self.ask(&ClientMessage::Kill { session: session.into() }, Asked::Kill).await
            }
            _ => Ok(()),
        }
    }
}

/// A session that is to be started under a name that is free, if it has none yet.
pub(super) type Unnamed = Option<Box<UnnamedSession>>;

#[derive(Debug)]
pub(super) struct UnnamedSession {
    command: Vec<String>,
    /// Names that were taken.
    number: u32,
}

/// The last number that is tried behind a name.
const MAX_NUMBER: u32 = 100;

impl UnnamedSession {
    /// The next name to try: the program's, and a number.
    fn next_name(&mut self) -> Option<SessionName> {
        self.number += 1;
        let program = self.command.first().and_then(|program| program.rsplit('/').next()).unwrap_or("shell");
        let allowed = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        let name: String = program.chars().filter(allowed).take(SessionName::MAX_LEN - 4).collect();
        let name =
            if name.chars().any(|letter| letter.is_ascii_alphanumeric()) { name } else { "shell".to_owned() };
        match self.number {
            1 => name.parse().ok(),
            2..=MAX_NUMBER => format!("{name}-{}", self.number).parse().ok(),
            _ => None,
        }
    }
}

impl Viewer {
    /// Starts a session under the next name.
    pub(super) async fn start(&mut self, mut new: UnnamedSession) -> Result<(), Farewell> {
        let Some(name) = new.next_name() else {
            self.tell(PageError::Server, "there are too many sessions of this name; give another one");
            return Ok(());
        };
        let request = ClientMessage::Create(create(name, new.command.clone()));
        self.ask(&request, Asked::New(Some(Box::new(new)))).await
    }
}

/// A session with the gateway's environment, in the home directory; without a command, of the user's shell.
fn create(name: SessionName, command: Vec<String>) -> Create {
    let command = match command.is_empty() {
        false => command.into_iter().map(String::into_bytes).collect(),
        true => {
            let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty());
            vec![shell.map_or_else(|| b"/bin/sh".to_vec(), OsStringExt::into_vec)]
        }
    };
    let mut create = Create::new(name, command);
    let is_the_terminals = |name: &std::ffi::OsStr| {
        ["COLUMNS", "LINES", "TERM", "COLORTERM"].iter().any(|known| name == *known)
            || name.as_encoded_bytes().starts_with(b"FUGUE_")
    };
    let variables = env::vars_os().filter(|(name, _)| !is_the_terminals(name));
    create.env = variables.map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
    // What the page's terminal is.
    create.env.push((b"TERM".to_vec(), b"xterm-256color".to_vec()));
    create.env.push((b"COLORTERM".to_vec(), b"truecolor".to_vec()));
    create.cwd = env::var_os("HOME").filter(|home| !home.is_empty()).map(OsStringExt::into_vec);
    create
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_a_name_is_called_as_its_program_with_a_number() {
        for (command, names) in [
            (&[][..], ["shell", "shell-2", "shell-3"]),
            (&["/usr/bin/htop", "-d"], ["htop", "htop-2", "htop-3"]),
            (&["./my build!"], ["mybuild", "mybuild-2", "mybuild-3"]),
            (&["/"], ["shell", "shell-2", "shell-3"]),
        ] {
            let mut new = UnnamedSession {
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                number: 0,
            };
            assert_eq!(names.map(|_| new.next_name().unwrap().to_string()), names);
            assert_eq!(std::iter::from_fn(|| new.next_name()).count(), MAX_NUMBER as usize - 3);
        }
        let mut long = UnnamedSession { command: vec!["x".repeat(100)], number: 98 };
        assert!(long.next_name().is_some() && long.next_name().is_some());
    }
}
