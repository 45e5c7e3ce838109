//! A link as people type it: its URL, its secret alone, or `-` to be asked for it.

use std::{io, str::FromStr};

use anyhow::Context;

use super::print_note;
use crate::{
    client::{Client, ClientError},
    message::{LinkToken, NotAToken, Redeemed, ViewerId},
};

/// The longest line that is read as a link, in bytes.
const MAX_LINE: u64 = 4096;

/// A link on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkArg {
    Said(LinkToken),
    /// It is to be read: other users of the machine see a command line.
    Asked,
}

impl FromStr for LinkArg {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        if text == "-" { Ok(Self::Asked) } else { token(text).map(Self::Said) }
    }
}

/// The secret of a URL: what follows its `#`, which no browser sends.
fn token(text: &str) -> Result<LinkToken, NotAToken> {
    text.rsplit_once('#').map_or(text, |(_, fragment)| fragment).parse()
}

impl LinkArg {
    /// The link, with somebody who redeems it on one connection after another.
    pub(super) fn into_link(self) -> anyhow::Result<HeldLink> {
        let token = match self {
            Self::Said(token) => token,
            Self::Asked => {
                print_note(format_args!("Type or paste the link, and Return:"));
                let mut line = String::new();
                let mut input = io::Read::take(io::stdin().lock(), MAX_LINE);
                io::BufRead::read_line(&mut input, &mut line).context("reading the link failed")?;
                token(line.trim()).context("what was read is no link")?
            }
        };
        Ok(HeldLink { token, viewer: ViewerId::random() })
    }
}

/// A link, and who redeems it: one viewer, however often it connects.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldLink {
    token: LinkToken,
    viewer: ViewerId,
}

impl HeldLink {
    /// Has a new connection do from now on what the link says, and nothing else.
    pub(super) async fn redeem(self, client: &mut Client) -> Result<Redeemed, ClientError> {
        client.redeem(self.token, self.viewer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_its_url_wherever_that_leads_or_its_secret() {
        let token = LinkToken::from_bytes([7; 16]);
        for text in ["http://127.0.0.1:7681/s/#", "https://example.org/x/s/#", "#", ""] {
            assert_eq!(format!("{text}{token}").parse(), Ok(LinkArg::Said(token)), "{text}");
        }
        assert_eq!("-".parse(), Ok(LinkArg::Asked));
        for wrong in ["", "#", "http://127.0.0.1:7681/s/", &format!("{token}#"), &format!("http://x/{token}")]
        {
            assert!(wrong.parse::<LinkArg>().is_err(), "{wrong}");
        }
    }
}
