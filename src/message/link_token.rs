//! What links are known by: the secret of each, who redeems it, and what it is called.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The text of a token: 16 bytes in base64url, without padding.
const TOKEN_LEN: usize = 22;

/// Bytes from the system's random source.
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// What is not the text of what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct NotAToken(&'static str);

/// The secret of a link: who has it may do what the link says. 128 random bits.
///
/// As text it is base64url, 22 characters. `Debug` does not show it. The server keeps its SHA-256 only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkToken([u8; 16]);

impl LinkToken {
    /// Draws a token from the system's random source.
    ///
    /// # Panics
    /// If the system has no random source.
    #[must_use]
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// The token as 16 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The token that [`to_bytes`](Self::to_bytes) gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(..)")
    }
}

impl fmt::Display for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for LinkToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let not_one = NotAToken("a link's token, which is 22 letters, digits, `-` and `_`");
        if text.len() != TOKEN_LEN {
            return Err(not_one);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_one)?;
        bytes.try_into().map(Self).map_err(|_| not_one)
    }
}

/// Who redeems a link: 128 random bits that a viewer draws, and keeps while it lives.
///
/// A link that admits so many viewers admits each of them again and again. So a viewer that reconnects uses up nothing.
/// As text it is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ViewerId([u8; 16]);

impl ViewerId {
    /// Draws an id from the system's random source.
    ///
    /// # Panics
    /// If the system has no random source.
    #[must_use]
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// The id as 16 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The id that [`to_bytes`](Self::to_bytes) gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ViewerId {
    // Who knows it and the link takes this viewer's place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewerId(..)")
    }
}

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for ViewerId {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or(NotAToken("32 hexadecimal digits"))
    }
}

/// What a link is called by who made it: no secret. As text it is 8 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(u32);

impl LinkId {
    /// Draws an id from the system's random source. A server sees to it that no two of its links have the same.
    ///
    /// # Panics
    /// If the system has no random source.
    #[must_use]
    pub fn random() -> Self {
        Self(u32::from_ne_bytes(random_bytes()))
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for LinkId {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let is_hex = text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(NotAToken("a link's id, which is 8 hexadecimal digits; `shares` lists them"))
    }
}

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_from_its_text_and_nothing_else_does() {
        let token = LinkToken::from_bytes([0xfb; 16]);
        let text = token.to_string();
        assert_eq!((text.len(), text.parse()), (TOKEN_LEN, Ok(token)));
        assert!(!text.contains(['+', '/', '=']));
        let last = &text[..TOKEN_LEN - 1];
        for wrong in
            ["", "short", &format!("{last}+"), &format!("{text}A"), &format!("{last}_"), &format!("{last} ")]
        {
            assert!(wrong.parse::<LinkToken>().is_err(), "{wrong:?}");
        }
        assert_ne!(LinkToken::random(), LinkToken::random());
    }

    #[test]
    fn ids_read_back_from_their_text_and_nothing_else_does() {
        let (viewer, link) = (ViewerId::from_bytes([7; 16]), LinkId(0xab));
        assert_eq!(viewer.to_string().parse(), Ok(viewer));
        assert_eq!((link.to_string(), "000000ab".parse()), ("000000ab".to_owned(), Ok(link)));
        for wrong in ["", "+00000ab", "ab", "000000abc", "000000ag"] {
            assert!(wrong.parse::<LinkId>().is_err(), "{wrong:?}");
        }
        assert!(format!("+{}", &viewer.to_string()[1..]).parse::<ViewerId>().is_err());
    }

    #[test]
    fn secrets_are_not_shown_by_accident() {
        let text = format!("{:?} {:?}", LinkToken::from_bytes([7; 16]), ViewerId::from_bytes([7; 16]));
        assert_eq!(text, "LinkToken(..) ViewerId(..)");
    }
}
