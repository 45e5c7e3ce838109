//! The table of questions: what programs ask their terminal, and what terminals reply.
//!
//! Names and forms are those of xterm's [control sequences], of kitty's [protocol extensions], and of iTerm2's
//! [escape codes].
//!
//! [control sequences]: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
//! [protocol extensions]: https://sw.kovidgoyal.net/kitty/protocol-extensions/
//! [escape codes]: https://iterm2.com/documentation-escape-codes.html

use super::{
    control::Control,
    strings::{
        asked_in, colour, command, graphics, is_about_notifications, is_separator, iterm, kitty_clipboard,
        names, pairs, part, remote_control,
    },
};

/// One row of [`TABLE`]. A reply answers a question of its own kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct QuestionKind(usize);

/// A kind of question.
struct Row {
    name: &'static str,
    asks: &'static [Asks],
    replies: &'static [Replies],
    source: Source,
}

/// Who knows the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The model, or else a terminal.
    Model,
    /// The model alone: what terminals say of it is of themselves.
    ModelOnly,
    /// A terminal. It may ask its person for permission.
    Person,
}

/// What a question looks like.
#[derive(Clone, Copy)]
enum Asks {
    Control(SequenceForm),
    /// A control sequence that sets this private mode.
    Sets(u16),
    /// ESC and this.
    Escape(u8),
    /// A string: how many replies its introducer and body ask for.
    String(fn(u8, &[u8]) -> usize),
}

/// What a reply looks like.
#[derive(Clone, Copy)]
enum Replies {
    Control(SequenceForm),
    /// As `Control`, but without a question it is an event, which passes.
    OrEvent(SequenceForm),
    /// A string that begins with this after its ESC, where `#` stands for any digits.
    String(&'static [u8]),
}

/// A control sequence by its parts, its first number, and how many numbers it has.
#[derive(Clone, Copy)]
struct SequenceForm {
    private: &'static [u8],
    intermediates: &'static [u8],
    last: u8,
    /// Empty for any.
    first: &'static [u16],
    counts: (usize, usize),
}

const ANY: (usize, usize) = (0, usize::MAX);
const SOME: (usize, usize) = (1, usize::MAX);
const FEW: (usize, usize) = (0, 1);

const fn form(private: &'static [u8], intermediates: &'static [u8], last: u8) -> SequenceForm {
    SequenceForm { private, intermediates, last, first: &[], counts: ANY }
}

impl SequenceForm {
    const fn first(self, first: &'static [u16]) -> Self {
        Self { first, ..self }
    }

    const fn counts(self, counts: (usize, usize)) -> Self {
        Self { counts, ..self }
    }

    fn matches(&self, control: &Control<'_>) -> bool {
        // Kitty's keys have subparameters.
        let may_be_one =
            control.last == b'm' || !control.private.is_empty() || !control.parameters.contains(&b':');
        let count = control.count();
        may_be_one
            && self.last == control.last
            && self.private == control.private
            && self.intermediates == control.intermediates
            && (self.counts.0..=self.counts.1).contains(&count)
            && (self.first.is_empty() || control.first().is_some_and(|first| self.first.contains(&first)))
    }
}

const fn row(name: &'static str, asks: &'static [Asks], replies: &'static [Replies]) -> Row {
    Row { name, asks, replies, source: Source::Model }
}

use Asks::{Control as Asked, Escape, Sets, String as AskedBy};
use Replies::{Control as Replied, OrEvent, String as RepliedBy};

const TABLE: &[Row] = &[
    row(
        "DA1",
        &[Asked(form(b"", b"", b'c').first(&[0]).counts(FEW)), Escape(b'Z')],
        &[Replied(form(b"?", b"", b'c'))],
    ),
    row("DA2", &[Asked(form(b">", b"", b'c').first(&[0]))], &[Replied(form(b">", b"", b'c'))]),
    row("DA3", &[Asked(form(b"=", b"", b'c').first(&[0]))], &[RepliedBy(b"P!|")]),
    row("XTVERSION", &[Asked(form(b">", b"", b'q').first(&[0]))], &[RepliedBy(b"P>|")]),
    row(
        "DSR",
        &[Asked(form(b"", b"", b'n').first(&[5]))],
        &[Replied(form(b"", b"", b'n').first(&[0, 3]).counts((1, 1)))],
    ),
    row(
        "CPR",
        &[Asked(form(b"", b"", b'n').first(&[6]))],
        // With some numbers it is a key: see `reply`.
        &[Replied(form(b"", b"", b'R').counts((2, 2)))],
    ),
    row("DECXCPR", &[Asked(form(b"?", b"", b'n').first(&[6]))], &[Replied(form(b"?", b"", b'R'))]),
    row(
        "DSR printer",
        &[Asked(form(b"?", b"", b'n').first(&[15]))],
        &[Replied(form(b"?", b"", b'n').first(&[10, 11, 13, 18]))],
    ),
    row(
        "DSR user keys",
        &[Asked(form(b"?", b"", b'n').first(&[25]))],
        &[Replied(form(b"?", b"", b'n').first(&[20, 21]))],
    ),
    row(
        "DSR keyboard",
        &[Asked(form(b"?", b"", b'n').first(&[26]))],
        &[Replied(form(b"?", b"", b'n').first(&[27]))],
    ),
    row(
        "DSR locator",
        &[Asked(form(b"?", b"", b'n').first(&[53, 55]))],
        &[Replied(form(b"?", b"", b'n').first(&[50, 53]))],
    ),
    row(
        "DSR locator type",
        &[Asked(form(b"?", b"", b'n').first(&[56]))],
        &[Replied(form(b"?", b"", b'n').first(&[57]))],
    ),
    row("DECMSR", &[Asked(form(b"?", b"", b'n').first(&[62]))], &[Replied(form(b"", b"*", b'{'))]),
    row(
        "DSR integrity",
        &[Asked(form(b"?", b"", b'n').first(&[75]))],
        &[Replied(form(b"?", b"", b'n').first(&[70, 71, 73]))],
    ),
    row(
        "DSR sessions",
        &[Asked(form(b"?", b"", b'n').first(&[85]))],
        &[Replied(form(b"?", b"", b'n').first(&[80, 81, 83, 84, 86, 87]))],
    ),
    row(
        "theme",
        &[Asked(form(b"?", b"", b'n').first(&[996]))],
        &[Replied(form(b"?", b"", b'n').first(&[997]))],
    ),
    row(
        "DECRQM ANSI",
        &[Asked(form(b"", b"$", b'p'))],
        &[
            // With one number it is a shifted key of rxvt's and the letter that was typed next.
            Replied(form(b"", b"$", b'y').counts((2, 2))),
        ],
    ),
    row("DECRQM", &[Asked(form(b"?", b"$", b'p'))], &[Replied(form(b"?", b"$", b'y').counts((2, 2)))]),
    row(
        "DECREQTPARM",
        &[Asked(form(b"", b"", b'x').first(&[0, 1]).counts(FEW))],
        &[Replied(form(b"", b"", b'x').counts(SOME))],
    ),
    row("kitty keyboard", &[Asked(form(b"?", b"", b'u'))], &[Replied(form(b"?", b"", b'u').counts(SOME))]),
    row("XTQMODKEYS", &[Asked(form(b"?", b"", b'm'))], &[Replied(form(b">", b"", b'm').counts(SOME))]),
    row("XTQFMTKEYS", &[Asked(form(b"?", b"", b'g'))], &[Replied(form(b">", b"", b'f').counts(SOME))]),
    row("window state", &[asks_window(&[11])], &[Replied(form(b"", b"", b't').first(&[1, 2]))]),
    row("window position", &[asks_window(&[13])], &[Replied(form(b"", b"", b't').first(&[3]))]),
    row("window pixels", &[asks_window(&[14])], &[Replied(form(b"", b"", b't').first(&[4]))]),
    row("screen pixels", &[asks_window(&[15])], &[Replied(form(b"", b"", b't').first(&[5]))]),
    row("cell pixels", &[asks_window(&[16])], &[Replied(form(b"", b"", b't').first(&[6]))]),
    row("window size", &[asks_window(&[18])], &[Replied(form(b"", b"", b't').first(&[8]))]),
    row("screen size", &[asks_window(&[19])], &[Replied(form(b"", b"", b't').first(&[9]))]),
    row("icon label", &[asks_window(&[20])], &[RepliedBy(b"]L")]),
    row("title", &[asks_window(&[21])], &[RepliedBy(b"]l")]),
    Row {
        name: "in-band size",
        asks: &[Sets(2048)],
        replies: &[Replied(form(b"", b"", b't').first(&[48]))],
        source: Source::ModelOnly,
    },
    row("XTSMGRAPHICS", &[Asked(form(b"?", b"", b'S'))], &[Replied(form(b"?", b"", b'S'))]),
    row(
        "DECRQCRA",
        &[Asked(form(b"", b"*", b'y')), Asked(form(b"?", b"", b'n').first(&[63]))],
        &[RepliedBy(b"P#!~")],
    ),
    row("DECRQPSR", &[Asked(form(b"", b"$", b'w'))], &[RepliedBy(b"P#$u")]),
    row("DECRQTSR", &[Asked(form(b"", b"$", b'u'))], &[RepliedBy(b"P#$s")]),
    row("DECRQUPSS", &[Asked(form(b"", b"&", b'u'))], &[RepliedBy(b"P#!u")]),
    row("DECRQDE", &[Asked(form(b"", b"\"", b'v'))], &[Replied(form(b"", b"\"", b'w'))]),
    // What the locator does, it reports in the same words.
    row("DECRQLP", &[Asked(form(b"", b"'", b'|'))], &[OrEvent(form(b"", b"&", b'w'))]),
    row("XTREPORTCOLORS", &[Asked(form(b"", b"#", b'R'))], &[Replied(form(b"?", b"#", b'Q'))]),
    row("XTREPORTSGR", &[Asked(form(b"", b"#", b'|'))], &[OrEvent(form(b"", b"", b'm'))]),
    row("XTTITLEPOS", &[Asked(form(b"", b"#", b'S'))], &[Replied(form(b"", b"#", b'S'))]),
    row(
        "kitty cursors",
        &[Asked(form(b">", b" ", b'q').first(&[0, 100, 101]).counts(FEW))],
        &[Replied(form(b">", b" ", b'q'))],
    ),
    row(
        "DECRQSS",
        &[AskedBy(|i, body| usize::from(i == b'P' && body.starts_with(b"$q")))],
        &[RepliedBy(b"P#$r")],
    ),
    row("XTGETTCAP", &[AskedBy(|i, body| names(i, body, b"+q"))], &[RepliedBy(b"P#+r")]),
    row("XTGETXRES", &[AskedBy(|i, body| names(i, body, b"+Q"))], &[RepliedBy(b"P#+R")]),
    row("kitty graphics", &[AskedBy(graphics)], &[RepliedBy(b"_G")]),
    row("kitty remote control", &[AskedBy(remote_control)], &[RepliedBy(b"P@kitty-cmd")]),
    row("palette", &[AskedBy(|i, body| pairs(i, body, 4))], &[RepliedBy(b"]4;")]),
    row("special colours", &[AskedBy(|i, body| pairs(i, body, 5))], &[RepliedBy(b"]5;")]),
    row("foreground", &[AskedBy(|i, body| colour(i, body, 10))], &[RepliedBy(b"]10;")]),
    row("background", &[AskedBy(|i, body| colour(i, body, 11))], &[RepliedBy(b"]11;")]),
    row("cursor colour", &[AskedBy(|i, body| colour(i, body, 12))], &[RepliedBy(b"]12;")]),
    row("pointer foreground", &[AskedBy(|i, body| colour(i, body, 13))], &[RepliedBy(b"]13;")]),
    row("pointer background", &[AskedBy(|i, body| colour(i, body, 14))], &[RepliedBy(b"]14;")]),
    row("Tektronix foreground", &[AskedBy(|i, body| colour(i, body, 15))], &[RepliedBy(b"]15;")]),
    row("Tektronix background", &[AskedBy(|i, body| colour(i, body, 16))], &[RepliedBy(b"]16;")]),
    row("selection background", &[AskedBy(|i, body| colour(i, body, 17))], &[RepliedBy(b"]17;")]),
    row("Tektronix cursor", &[AskedBy(|i, body| colour(i, body, 18))], &[RepliedBy(b"]18;")]),
    row("selection foreground", &[AskedBy(|i, body| colour(i, body, 19))], &[RepliedBy(b"]19;")]),
    row(
        "kitty colours",
        &[AskedBy(|i, body| asked_in(i, body, 21, |part| part.ends_with(b"=?")))],
        &[RepliedBy(b"]21;")],
    ),
    row(
        "pointer shapes",
        &[AskedBy(|i, body| asked_in(i, body, 22, |part| part.starts_with(b"?")))],
        &[RepliedBy(b"]22;")],
    ),
    row(
        "font",
        &[AskedBy(|i, body| asked_in(i, body, 50, |part| part.starts_with(b"?")))],
        &[RepliedBy(b"]50;")],
    ),
    row("XTQALLOWED", &[AskedBy(|i, body| asked_in(i, body, 60, |_| true))], &[RepliedBy(b"]60;")]),
    row("XTQDISALLOWED", &[AskedBy(|i, body| asked_in(i, body, 61, |_| true))], &[RepliedBy(b"]61;")]),
    Row {
        name: "clipboard",
        asks: &[AskedBy(|i, body| {
            usize::from(command(i, body, 52).is_some_and(|rest| part(rest, 1) == b"?"))
        })],
        replies: &[RepliedBy(b"]52;")],
        source: Source::Person,
    },
    Row {
        name: "kitty clipboard",
        asks: &[AskedBy(kitty_clipboard)],
        replies: &[RepliedBy(b"]5522;")],
        source: Source::Person,
    },
    row(
        NOTIFICATIONS,
        &[AskedBy(|i, body| usize::from(command(i, body, 99).is_some_and(is_about_notifications)))],
        &[RepliedBy(b"]99;")],
    ),
    row(
        "cell size",
        &[AskedBy(|i, body| iterm(i, body, b"ReportCellSize"))],
        &[RepliedBy(b"]1337;ReportCellSize")],
    ),
    row(
        "iTerm2 variable",
        &[AskedBy(|i, body| iterm(i, body, b"ReportVariable="))],
        &[RepliedBy(b"]1337;ReportVariable")],
    ),
    row(
        "iTerm2 capabilities",
        &[AskedBy(|i, body| iterm(i, body, b"Capabilities"))],
        &[RepliedBy(b"]1337;Capabilities")],
    ),
];
const NOTIFICATIONS: &str = "notifications";

const fn asks_window(number: &'static [u16]) -> Asks {
    Asked(form(b"", b"", b't').first(number))
}

/// The rows, a bit for each, of which a control sequence with this last byte may ask: of those with neither a private
/// mark nor intermediates, and of the others. Nearly all of what programs print is told apart by this.
static LAST: [[u128; 128]; 2] = {
    let mut last = [[0; 128]; 2];
    let mut at = 0;
    while at < TABLE.len() {
        let mut form = 0;
        while form < TABLE[at].asks.len() {
            match TABLE[at].asks[form] {
                Asks::Control(form) => {
                    let is_marked = !form.private.is_empty() || !form.intermediates.is_empty();
                    last[is_marked as usize][form.last as usize] |= 1 << at;
                }
                Asks::Sets(_) => last[1][b'h' as usize] |= 1 << at,
                Asks::Escape(_) | Asks::String(_) => {}
            }
            form += 1;
        }
        at += 1;
    }
    last
};

/// What a sequence that is typed is, as far as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyMatch {
    No,
    /// It may become one yet.
    Beginning,
    Yes(QuestionKind),
    /// It is one if it was asked for, and an event or a key otherwise.
    Perhaps(QuestionKind),
}

impl QuestionKind {
    fn row(self) -> &'static Row {
        &TABLE[self.0]
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).map(Self)
    }

    fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.row().name == name)
    }

    /// What answers a terminal that is asked nothing else.
    pub(super) fn dsr() -> Option<Self> {
        Self::named("DSR")
    }

    /// Whether a terminal may have to ask its person first.
    pub(super) fn asks_a_person(self) -> bool {
        self.row().source == Source::Person
    }

    /// Whether the model may know.
    pub(super) fn is_for_the_model(self) -> bool {
        self.row().source != Source::Person
    }

    /// Whether a terminal is asked where the model does not know.
    pub(super) fn is_for_a_terminal(self) -> bool {
        self.row().source != Source::ModelOnly
    }

    pub(super) fn is_theme(self) -> bool {
        self.row().name == "theme"
    }

    /// Whether this may come unasked once a program has asked to be told of pastes.
    pub(super) fn is_clipboard_packet(self) -> bool {
        self.row().name == "kitty clipboard"
    }

    /// Whether `reply`, a whole one, says what happened to a notification: it is meant for the program, unasked.
    pub(super) fn is_event(self, reply: &[u8]) -> bool {
        let said = reply.strip_prefix(b"\x1b]99;");
        self.row().name == NOTIFICATIONS && said.is_some_and(|said| !is_about_notifications(said))
    }

    /// Whether more replies to the same question follow `reply`.
    pub(super) fn goes_on_after(self, reply: &[u8]) -> bool {
        let has = |status: &[u8]| reply.windows(status.len()).any(|window| window == status);
        self.is_clipboard_packet() && (has(b"status=OK") || has(b"status=DATA"))
    }

    /// How many questions `reply` answers. Some terminals answer all names of one string at once.
    pub(super) fn answers(self, reply: &[u8]) -> usize {
        if self.row().name == "XTGETTCAP" {
            1 + reply.iter().filter(|byte| is_separator(byte)).count()
        } else {
            1
        }
    }
}

impl std::fmt::Debug for QuestionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.row().name)
    }
}

/// What ESC and `byte` ask for.
pub(super) fn asked_by_escape(byte: u8) -> Option<QuestionKind> {
    let is_it = |asks: &Asks| matches!(asks, Asks::Escape(escape) if *escape == byte);
    QuestionKind::all().find(|kind| kind.row().asks.iter().any(is_it))
}

/// What the control sequence `body`, which follows ESC [, asks for.
pub(super) fn asked_by_control(body: &[u8]) -> Option<QuestionKind> {
    let (last, before) = body.split_last()?;
    let is_marked = !before.iter().all(|byte| matches!(byte, b'0'..=b';'));
    let mut rows = *LAST[usize::from(is_marked)].get(usize::from(*last))?;
    if rows == 0 {
        return None;
    }
    let control = Control::parse(body)?;
    let is_it = |asks: &Asks| match asks {
        Asks::Control(form) => form.matches(&control),
        Asks::Sets(mode) => {
            let sets = control.private == b"?" && control.intermediates.is_empty() && control.last == b'h';
            sets && control.numbers().any(|number| number == Some(*mode))
        }
        Asks::Escape(_) | Asks::String(_) => false,
    };
    while rows != 0 {
        let kind = QuestionKind(rows.trailing_zeros() as usize);
        if kind.row().asks.iter().any(is_it) {
            return Some(kind);
        }
        rows &= rows - 1;
    }
    None
}

/// Calls `note` for each thing that a string asks for, which ESC and `introducer` began. Each is answered by a reply of
/// its own.
pub(super) fn asked_by_string(introducer: u8, body: &[u8], mut note: impl FnMut(QuestionKind)) {
    // Titles, directories and links are most of the strings that there are, and ask nothing.
    if introducer == b']' && matches!(body, [b'0'..=b'2' | b'7' | b'8', b';', ..]) {
        return;
    }
    for kind in QuestionKind::all() {
        for asks in kind.row().asks {
            if let Asks::String(count) = asks {
                (0..count(introducer, body)).for_each(|_| note(kind));
            }
        }
    }
}

/// Whether a control sequence that is typed is a reply.
pub(super) fn reply(control: &Control<'_>) -> ReplyMatch {
    for kind in QuestionKind::all() {
        for replies in kind.row().replies {
            match replies {
                Replies::Control(form) if form.matches(control) => {
                    // Shift-F3 and the cursor's place in the first line look the same.
                    let mut numbers = control.numbers();
                    let is_key = kind.row().name == "CPR"
                        && numbers.next() == Some(Some(1))
                        && matches!(numbers.next(), Some(Some(2..=16)));
                    return if is_key { ReplyMatch::Perhaps(kind) } else { ReplyMatch::Yes(kind) };
                }
                Replies::OrEvent(form) if form.matches(control) => return ReplyMatch::Perhaps(kind),
                _ => {}
            }
        }
    }
    ReplyMatch::No
}

/// Whether a string that is typed, ESC left out, begins as a reply.
pub(super) fn string_reply(string: &[u8]) -> ReplyMatch {
    let mut is_beginning = false;
    for kind in QuestionKind::all() {
        for replies in kind.row().replies {
            if let Replies::String(pattern) = replies {
                match begins(string, pattern) {
                    Begins::Whole => return ReplyMatch::Yes(kind),
                    Begins::SoFar => is_beginning = true,
                    Begins::Not => {}
                }
            }
        }
    }
    if is_beginning { ReplyMatch::Beginning } else { ReplyMatch::No }
}

enum Begins {
    Not,
    SoFar,
    Whole,
}

fn begins(mut string: &[u8], pattern: &[u8]) -> Begins {
    for wanted in pattern {
        if *wanted == b'#' {
            let digits = string.iter().take_while(|byte| byte.is_ascii_digit()).count();
            string = &string[digits..];
            continue;
        }
        match string.split_first() {
            None => return Begins::SoFar,
            Some((byte, rest)) if byte == wanted => string = rest,
            Some(_) => return Begins::Not,
        }
    }
    Begins::Whole
}
