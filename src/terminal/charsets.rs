//! Character sets: which characters a program means by ASCII's bytes. The tables are DEC's, from the VT220's and
//! VT320's manuals; each national set replaces up to a dozen characters.

/// Four sets, by the last byte of what designates them, and which is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charsets {
    pub(super) sets: [u8; 4],
    /// The one that is shifted in.
    pub(super) active: usize,
    /// The one of the next character alone (SS2, SS3).
    pub(super) single: Option<usize>,
}

/// ASCII.
pub(super) const ASCII: u8 = b'B';

impl Default for Charsets {
    fn default() -> Self {
        Self { sets: [ASCII; 4], active: 0, single: None }
    }
}

impl Charsets {
    /// Whether characters are what they seem.
    pub(super) fn is_plain(&self) -> bool {
        self.single.is_none() && self.sets[self.active] == ASCII
    }

    /// What a program means by a character.
    pub(super) fn translate(&mut self, character: char) -> char {
        let set = self.sets[self.single.take().unwrap_or(self.active)];
        if set == ASCII { character } else { translate(set, character) }
    }

    /// `ESC designator last`: one of `( ) * +` chooses the set's place.
    pub(super) fn designate(&mut self, designator: u8, last: u8) {
        if let Some(place) = DESIGNATORS.iter().position(|other| *other == designator) {
            self.sets[place] = last;
        }
    }

    pub(super) fn restore(&self, out: &mut Vec<u8>) {
        for (set, designator) in self.sets.iter().zip(DESIGNATORS) {
            if *set != ASCII {
                out.extend([0x1b, designator, *set]);
            }
        }
        match self.active {
            0 => {}
            1 => out.push(0x0e),
            2 => out.extend(b"\x1bn"),
            _ => out.extend(b"\x1bo"),
        }
    }
}

const DESIGNATORS: [u8; 4] = *b"()*+";

/// What makes all of them ASCII again.
pub(super) const RESET: &str = "\x1b(B\x1b)B\x1b*B\x1b+B\x0f";

/// DEC Special Graphics, from 0x5f on.
const GRAPHICS: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽',
    '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

/// What the national sets put in the places of `# @ [ \ ] ^ _ backquote { | } ~`.
const PLACES: &str = "#@[\\]^_`{|}~";

fn national(set: u8) -> Option<&'static str> {
    Some(match set {
        b'A' => "£@[\\]^_`{|}~",
        b'4' => "£¾ĳ½|^_`¨ƒ¼´",
        b'C' | b'5' => "#@ÄÖÅÜ_éäöåü",
        b'R' | b'f' => "£à°ç§^_`éùè¨",
        b'Q' | b'9' => "#àâçêî_ôéùèû",
        b'K' => "#§ÄÖÜ^_`äöüß",
        b'Y' => "£§°çé^_ùàòèì",
        b'`' | b'E' | b'6' => "#ÄÆØÅÜ_äæøåü",
        b'Z' => "£§¡Ñ¿^_`°ñç~",
        b'H' | b'7' => "#ÉÄÖÅÜ_éäöåü",
        b'=' => "ùàéçêîèôäöüû",
        _ => return None,
    })
}

fn translate(set: u8, character: char) -> char {
    if set == b'0' {
        let index = (character as usize).checked_sub(0x5f);
        return index.and_then(|index| GRAPHICS.get(index)).copied().unwrap_or(character);
    }
    let place = PLACES.chars().position(|place| place == character);
    place.zip(national(set)).and_then(|(place, set)| set.chars().nth(place)).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_has_all_its_places() {
        for set in 0x30..0x7f {
            if let Some(national) = national(set) {
                assert_eq!(national.chars().count(), PLACES.len(), "{set}");
            }
        }
        assert_eq!(translate(b'0', 'q'), '─');
        assert_eq!(translate(b'0', '~'), '·');
        assert_eq!(translate(b'K', '['), 'Ä');
        assert_eq!(translate(b'A', '#'), '£');
        assert_eq!(translate(b'A', 'x'), 'x');
    }
}
