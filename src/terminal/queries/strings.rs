//! What strings ask for, by their contents: each returns how many replies are due.

use super::control;

pub(super) fn is_separator(byte: &u8) -> bool {
    *byte == b';'
}

/// The parameters of the operating system command of this number.
pub(super) fn command(introducer: u8, body: &[u8], number: u16) -> Option<&[u8]> {
    let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, rest) = body.split_at(digits);
    let is_it = introducer == b']' && control::number(before) == Some(number);
    match rest {
        [] if is_it => Some(rest),
        [b';', rest @ ..] if is_it => Some(rest),
        _ => None,
    }
}

pub(super) fn part(parameters: &[u8], place: usize) -> &[u8] {
    parameters.split(is_separator).nth(place).unwrap_or_default()
}

/// Pairs of a number and a colour.
pub(super) fn pairs(introducer: u8, body: &[u8], number: u16) -> usize {
    let Some(rest) = command(introducer, body, number) else { return 0 };
    rest.split(is_separator).skip(1).step_by(2).filter(|colour| *colour == b"?").count()
}

/// Colours, the first for the command's number and each other for the next.
pub(super) fn colour(introducer: u8, body: &[u8], number: u16) -> usize {
    let asks = |from: u16| {
        let rest = command(introducer, body, from)?;
        Some(rest.split(is_separator).nth(usize::from(number - from))? == b"?")
    };
    usize::from((10..=number).any(|from| asks(from) == Some(true)))
}

pub(super) fn asked_in(introducer: u8, body: &[u8], number: u16, asks: fn(&[u8]) -> bool) -> usize {
    usize::from(command(introducer, body, number).is_some_and(|rest| rest.split(is_separator).any(asks)))
}

pub(super) fn names(introducer: u8, body: &[u8], prefix: &[u8]) -> usize {
    let names = body.strip_prefix(prefix).filter(|_| introducer == b'P');
    names.map_or(0, |names| names.split(is_separator).count())
}

/// A terminal also says what became of an image that has a name, unless told to be quiet.
pub(super) fn graphics(introducer: u8, body: &[u8]) -> usize {
    let Some(command) = body.strip_prefix(b"G").filter(|_| introducer == b'_') else { return 0 };
    // What follows the first semicolon is an image.
    let keys = command.split(is_separator).next().unwrap_or_default();
    let has = |wanted: &[u8]| keys.split(|byte| *byte == b',').any(|key| key.starts_with(wanted));
    usize::from((has(b"a=q") || has(b"i=") || has(b"I=")) && !has(b"q=2"))
}

pub(super) fn remote_control(introducer: u8, body: &[u8]) -> usize {
    let quiet = b"\"no_response\":true";
    let is_quiet = || body.windows(quiet.len()).any(|window| window == quiet);
    usize::from(introducer == b'P' && body.starts_with(b"@kitty-cmd") && !is_quiet())
}

pub(super) fn kitty_clipboard(introducer: u8, body: &[u8]) -> usize {
    let asks = |rest: &[u8]| {
        part(rest, 0).split(|byte| *byte == b':').any(|key| matches!(key, b"type=read" | b"type=write"))
    };
    usize::from(command(introducer, body, 5522).is_some_and(asks))
}

/// Whether a notification's parameters ask, or say, what notifications there can be or are.
pub(super) fn is_about_notifications(parameters: &[u8]) -> bool {
    part(parameters, 0).split(|byte| *byte == b':').any(|key| matches!(key, b"p=?" | b"p=alive"))
}

pub(super) fn iterm(introducer: u8, body: &[u8], name: &[u8]) -> usize {
    let is_it =
        |rest: &[u8]| rest.strip_prefix(name).is_some_and(|after| name.ends_with(b"=") || after.is_empty());
    usize::from(command(introducer, body, 1337).is_some_and(is_it))
}
