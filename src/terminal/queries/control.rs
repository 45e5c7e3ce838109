//! A control sequence, taken apart.

/// What follows ESC [.
#[derive(Debug)]
pub(super) struct Control<'a> {
    pub(super) private: &'a [u8],
    pub(super) parameters: &'a [u8],
    pub(super) intermediates: &'a [u8],
    pub(super) last: u8,
}

impl<'a> Control<'a> {
    /// Takes apart what follows ESC [. `None` where a part is out of its place.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (last, body) = body.split_last()?;
        let is_private = |byte: &u8| matches!(byte, b'<'..=b'?');
        let private = body.iter().take_while(|byte| is_private(byte)).count();
        let (private, body) = body.split_at(private);
        let intermediates = body.iter().rev().take_while(|byte| is_intermediate(**byte)).count();
        let (parameters, intermediates) = body.split_at(body.len() - intermediates);
        let in_place = parameters.iter().all(|byte| matches!(byte, b'0'..=b';'));
        in_place.then_some(Self { private, parameters, intermediates, last: *last })
    }

    /// The numbers; a number that was left out is 0, and one with subparameters or too large is `None`.
    pub(super) fn numbers(&self) -> impl Iterator<Item = Option<u16>> {
        let parts = self.parameters.split(|byte| *byte == b';');
        parts.map(|part| if part.is_empty() { Some(0) } else { number(part) })
    }

    pub(super) fn first(&self) -> Option<u16> {
        self.numbers().next().flatten()
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> usize {
        if self.parameters.is_empty() { 0 } else { self.numbers().count() }
    }
}

pub(super) fn is_intermediate(byte: u8) -> bool {
    matches!(byte, b' '..=b'/')
}

/// `None` for anything but digits, and for a number that does not fit.
pub(super) fn number(text: &[u8]) -> Option<u16> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
