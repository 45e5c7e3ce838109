//! How a terminal treats what is typed and printed: the part of termios that a person sets with `stty`.
//!
//! As ssh does (RFC 4254, section 8), a new session's terminal is given the settings of the terminal it is started
//! from. They travel by our own names, so that no system's numbers matter, and any value of theirs is one that a
//! terminal may have. What a pseudo-terminal has no use for is left out: speeds, parity, the size of a character.

use rustix::termios::{InputModes, LocalModes, OutputModes, SpecialCodeIndex, Termios};
use serde::{Deserialize, Serialize};

/// A setting that is on or off, by its name in POSIX and `stty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "`stty` and termios(3) say what each does")]
pub enum TerminalFlag {
    Ignbrk,
    Brkint,
    Ignpar,
    Parmrk,
    Inpck,
    Istrip,
    Inlcr,
    Igncr,
    Icrnl,
    Ixon,
    Ixany,
    Ixoff,
    Imaxbel,
    Iutf8,
    Opost,
    Onlcr,
    Ocrnl,
    Onocr,
    Onlret,
    Xtabs,
    Isig,
    Icanon,
    Echo,
    Echoe,
    Echok,
    Echonl,
    Echoctl,
    Echoprt,
    Echoke,
    Noflsh,
    Tostop,
    Iexten,
}

/// A control character, by its name in `stty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "`stty` and termios(3) say what each does")]
pub enum ControlCharacter {
    Intr,
    Quit,
    Erase,
    Kill,
    Eof,
    Eol,
    Eol2,
    Start,
    Stop,
    Susp,
    Rprnt,
    Werase,
    Lnext,
    Discard,
}

/// Settings of a terminal. Those that are not known are left as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSettings {
    /// A bit for each [`TerminalFlag`]: whether it is known, and whether it is on. Other bits mean nothing.
    known: u64,
    on: u64,
    /// By [`ControlCharacter`]; 0 disables one.
    characters: [Option<u8>; CHARACTERS.len()],
}

impl TerminalSettings {
    /// Settings of which none is known.
    pub const UNKNOWN: Self = Self { known: 0, on: 0, characters: [None; CHARACTERS.len()] };

    /// Whether a flag is on, if that is known.
    #[must_use]
    pub const fn flag(&self, flag: TerminalFlag) -> Option<bool> {
        if self.known & bit(flag) == 0 { None } else { Some(self.on & bit(flag) != 0) }
    }

    /// These settings, with a flag on or off.
    #[must_use]
    pub const fn with_flag(mut self, flag: TerminalFlag, on: bool) -> Self {
        self.known |= bit(flag);
        self.on = if on { self.on | bit(flag) } else { self.on & !bit(flag) };
        self
    }

    /// A control character, if it is known; 0 if it is disabled.
    #[must_use]
    pub const fn character(&self, character: ControlCharacter) -> Option<u8> {
        self.characters[character as usize]
    }

    /// These settings, with this byte for a control character; 0 disables it.
    #[must_use]
    pub const fn with_character(mut self, character: ControlCharacter, byte: u8) -> Self {
        self.characters[character as usize] = Some(byte);
        self
    }

    /// The settings of a terminal. Of one that a program has made raw, only what raw mode leaves alone: the rest is
    /// what that program needs, and no wish of the person's.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only a person has a terminal to start from"))]
    pub(crate) fn of(terminal: &Termios) -> Self {
        let is_raw = !terminal.local_modes.contains(LocalModes::ICANON);
        let mut settings = Self::UNKNOWN;
        for (flag, mode, of_raw) in FLAGS {
            if !is_raw || of_raw == Raw::LeavesIt {
                settings = settings.with_flag(flag, mode.is_on(terminal));
            }
        }
        for (character, index) in CHARACTERS {
            settings = settings.with_character(character, terminal.special_codes[index]);
        }
        settings
    }

    /// Gives these settings to a terminal.
    pub(crate) fn apply(&self, terminal: &mut Termios) {
        for (flag, mode, _) in FLAGS {
            if let Some(on) = self.flag(flag) {
                mode.set(terminal, on);
            }
        }
        for (character, index) in CHARACTERS {
            if let Some(byte) = self.character(character) {
                terminal.special_codes[index] = byte;
            }
        }
    }
}

const fn bit(flag: TerminalFlag) -> u64 {
    1 << flag as u32
}

/// Where the system keeps a flag.
#[derive(Clone, Copy)]
enum Mode {
    Input(InputModes),
    Output(OutputModes),
    Local(LocalModes),
}

impl Mode {
    fn is_on(self, terminal: &Termios) -> bool {
        match self {
            Self::Input(mode) => terminal.input_modes.contains(mode),
            Self::Output(mode) => terminal.output_modes.contains(mode),
            Self::Local(mode) => terminal.local_modes.contains(mode),
        }
    }

    fn set(self, terminal: &mut Termios, on: bool) {
        match self {
            Self::Input(mode) => terminal.input_modes.set(mode, on),
            Self::Output(mode) => terminal.output_modes.set(mode, on),
            Self::Local(mode) => terminal.local_modes.set(mode, on),
        }
    }
}

/// What `cfmakeraw` does to a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Raw {
    ClearsIt,
    LeavesIt,
}

/// Each flag, in the order of [`TerminalFlag`].
const FLAGS: [(TerminalFlag, Mode, Raw); 32] = {
    use Mode::{Input, Local, Output};
    use Raw::{ClearsIt, LeavesIt};
    use TerminalFlag as Flag;

    [
        (Flag::Ignbrk, Input(InputModes::IGNBRK), ClearsIt),
        (Flag::Brkint, Input(InputModes::BRKINT), ClearsIt),
        (Flag::Ignpar, Input(InputModes::IGNPAR), LeavesIt),
        (Flag::Parmrk, Input(InputModes::PARMRK), ClearsIt),
        (Flag::Inpck, Input(InputModes::INPCK), LeavesIt),
        (Flag::Istrip, Input(InputModes::ISTRIP), ClearsIt),
        (Flag::Inlcr, Input(InputModes::INLCR), ClearsIt),
        (Flag::Igncr, Input(InputModes::IGNCR), ClearsIt),
        (Flag::Icrnl, Input(InputModes::ICRNL), ClearsIt),
        (Flag::Ixon, Input(InputModes::IXON), ClearsIt),
        (Flag::Ixany, Input(InputModes::IXANY), LeavesIt),
        (Flag::Ixoff, Input(InputModes::IXOFF), LeavesIt),
        (Flag::Imaxbel, Input(InputModes::IMAXBEL), LeavesIt),
        (Flag::Iutf8, Input(InputModes::IUTF8), LeavesIt),
        (Flag::Opost, Output(OutputModes::OPOST), ClearsIt),
        // Python's `tty.setraw`, for one, clears it with OPOST, whose part it is.
        (Flag::Onlcr, Output(OutputModes::ONLCR), ClearsIt),
        (Flag::Ocrnl, Output(OutputModes::OCRNL), LeavesIt),
        (Flag::Onocr, Output(OutputModes::ONOCR), LeavesIt),
        (Flag::Onlret, Output(OutputModes::ONLRET), LeavesIt),
        (Flag::Xtabs, Output(OutputModes::XTABS), LeavesIt),
        (Flag::Isig, Local(LocalModes::ISIG), ClearsIt),
        (Flag::Icanon, Local(LocalModes::ICANON), ClearsIt),
        (Flag::Echo, Local(LocalModes::ECHO), ClearsIt),
        (Flag::Echoe, Local(LocalModes::ECHOE), LeavesIt),
        (Flag::Echok, Local(LocalModes::ECHOK), LeavesIt),
        (Flag::Echonl, Local(LocalModes::ECHONL), ClearsIt),
        (Flag::Echoctl, Local(LocalModes::ECHOCTL), LeavesIt),
        (Flag::Echoprt, Local(LocalModes::ECHOPRT), LeavesIt),
        (Flag::Echoke, Local(LocalModes::ECHOKE), LeavesIt),
        (Flag::Noflsh, Local(LocalModes::NOFLSH), LeavesIt),
        (Flag::Tostop, Local(LocalModes::TOSTOP), LeavesIt),
        (Flag::Iexten, Local(LocalModes::IEXTEN), ClearsIt),
    ]
};

/// Each control character, in the order of [`ControlCharacter`].
const CHARACTERS: [(ControlCharacter, SpecialCodeIndex); 14] = [
    (ControlCharacter::Intr, SpecialCodeIndex::VINTR),
    (ControlCharacter::Quit, SpecialCodeIndex::VQUIT),
    (ControlCharacter::Erase, SpecialCodeIndex::VERASE),
    (ControlCharacter::Kill, SpecialCodeIndex::VKILL),
    (ControlCharacter::Eof, SpecialCodeIndex::VEOF),
    (ControlCharacter::Eol, SpecialCodeIndex::VEOL),
    (ControlCharacter::Eol2, SpecialCodeIndex::VEOL2),
    (ControlCharacter::Start, SpecialCodeIndex::VSTART),
    (ControlCharacter::Stop, SpecialCodeIndex::VSTOP),
    (ControlCharacter::Susp, SpecialCodeIndex::VSUSP),
    (ControlCharacter::Rprnt, SpecialCodeIndex::VREPRINT),
    (ControlCharacter::Werase, SpecialCodeIndex::VWERASE),
    (ControlCharacter::Lnext, SpecialCodeIndex::VLNEXT),
    (ControlCharacter::Discard, SpecialCodeIndex::VDISCARD),
];

#[cfg(test)]
mod tests {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    use super::*;

    #[test]
    fn every_setting_of_one_terminal_is_given_to_another_that_had_none() {
        let (one, _one) = pty_process::blocking::open().unwrap();
        let (other, _other) = pty_process::blocking::open().unwrap();
        for (at, (flag, mode, _)) in FLAGS.into_iter().enumerate() {
            assert_eq!(flag as usize, at, "{flag:?} is out of order");
            for on in [true, false] {
                let mut before = tcgetattr(&one).unwrap();
                before.local_modes |= LocalModes::ICANON;
                mode.set(&mut before, on);
                tcsetattr(&one, OptionalActions::Now, &before).unwrap();
                let settings = TerminalSettings::of(&tcgetattr(&one).unwrap());
                let is_raw = flag == TerminalFlag::Icanon && !on;
                assert_eq!(settings.flag(flag), (!is_raw).then_some(on), "{flag:?}");
                let mut after = tcgetattr(&other).unwrap();
                mode.set(&mut after, !on);
                settings.apply(&mut after);
                tcsetattr(&other, OptionalActions::Now, &after).unwrap();
                assert_eq!(mode.is_on(&tcgetattr(&other).unwrap()), on || is_raw, "{flag:?}");
            }
        }
        for (at, (character, index)) in CHARACTERS.into_iter().enumerate() {
            assert_eq!(character as usize, at, "{character:?} is out of order");
            let mut terminal = tcgetattr(&one).unwrap();
            terminal.special_codes[index] = 7;
            let settings = TerminalSettings::of(&terminal);
            assert_eq!(settings.character(character), Some(7));
            let mut after = tcgetattr(&other).unwrap();
            settings.apply(&mut after);
            assert_eq!(after.special_codes[index], 7, "{character:?}");
        }
    }

    #[test]
    fn of_a_raw_terminal_only_what_raw_mode_leaves_is_known() {
        let (terminal, _slave) = pty_process::blocking::open().unwrap();
        let mut raw = tcgetattr(&terminal).unwrap();
        raw.input_modes |= InputModes::IUTF8;
        raw.special_codes[SpecialCodeIndex::VERASE] = 8;
        let before = raw.clone();
        raw.make_raw();
        let settings = TerminalSettings::of(&raw);
        for (flag, mode, of_raw) in FLAGS {
            let left = (of_raw == Raw::LeavesIt).then_some(mode.is_on(&before));
            assert_eq!(settings.flag(flag), left, "{flag:?}");
        }
        assert_eq!(settings.character(ControlCharacter::Erase), Some(8));
    }

    #[test]
    fn any_bytes_that_are_settings_are_such_as_a_terminal_may_have() {
        let (terminal, _slave) = pty_process::blocking::open().unwrap();
        let hostile =
            TerminalSettings { known: u64::MAX, on: u64::MAX, characters: [Some(0xff); CHARACTERS.len()] };
        let read: TerminalSettings = postcard::from_bytes(&postcard::to_stdvec(&hostile).unwrap()).unwrap();
        let mut modes = tcgetattr(&terminal).unwrap();
        read.apply(&mut modes);
        tcsetattr(&terminal, OptionalActions::Now, &modes).unwrap();
    }
}
