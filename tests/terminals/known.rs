//! Where the witnesses can't judge, with the reason; and what still differs.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    Vt100,
    XtermJs,
    Libvterm,
}

/// Recordings that a witness shows wrongly itself.
const DISPUTED: &[(Witness, &str, &str)] = &[
    (Witness::Vt100, "row DCH", "fills with the default colours, not the pen's"),
    (Witness::Vt100, "row ICH", "fills with the default colours, not the pen's"),
    (Witness::Vt100, "row IL", "fills with the default colours, not the pen's"),
    (Witness::Vt100, "row DL", "fills with the default colours, not the pen's"),
    (Witness::Vt100, "row SU", "fills with the default colours, not the pen's"),
    (Witness::Vt100, "row SD", "fills with the default colours, not the pen's"),
    (Witness::Vt100, "row DECAWM pending", "moves on from the column after the last"),
    (Witness::Vt100, "row DECOM, saved", "does not save the mode with the cursor"),
    (Witness::Vt100, "row DECSTBM, alternate", "has a scroll region for each screen"),
    (Witness::Vt100, "row no-break space", "gives a soft hyphen no cell"),
    (Witness::Vt100, "row ?47", "has a cursor for each screen; xterm has one"),
    (Witness::Vt100, "row Latin-1 bytes", "loses what follows them"),
    // In real xterms, the one that came late shows of these what the one that was there shows: their printed screens
    // (MC) were compared at 16 cuts.
    (Witness::Libvterm, "row DECSLRM |", "does not wrap at the right margin"),
    (Witness::Libvterm, "row DECSLRM, left", "shows side margins otherwise than xterm"),
    (Witness::Libvterm, "row DECSLRM, insert line", "leaves the cursor where it is, not at the left margin"),
    (Witness::Libvterm, "row DECSLRM, delete characters", "shows side margins otherwise than xterm"),
    (Witness::Libvterm, "row DECSLRM, scrolled", "shows side margins otherwise than xterm"),
    (Witness::Libvterm, "row DECSLRM, carriage return", "does not return to the left margin"),
    (Witness::Vt100, "row NEL and IND in 8 bits", "does not know them"),
    (Witness::Vt100, "row mouse, the last one counts", "does not know the last one"),
    (Witness::Vt100, "row wide", "keeps one half of a wide character without the other"),
    (Witness::XtermJs, "row wide inserted", "keeps one half of a wide character without the other"),
    (
        Witness::XtermJs,
        "row DECAWM pending, saved",
        "does not save that the next character wraps; xterm does",
    ),
    (Witness::XtermJs, "row DECAWM pending, tab", "keeps over a tab that the next character wraps"),
    (Witness::XtermJs, "row DECOM, saved", "does not save the mode with the cursor; xterm does"),
    (
        Witness::XtermJs,
        "tput-vt",
        "sets a tab stop after its last column, and keeps over a tab that the next character wraps",
    ),
    (Witness::XtermJs, "row SU | Late", "keeps no lines of what SU scrolls away; xterm does"),
    (Witness::XtermJs, "row SD", "fills with the default colours, not the pen's"),
    (Witness::XtermJs, "row SGR dashed", "has an underline colour of its own after SGR 59"),
    (Witness::XtermJs, "row charset saved", "saves the characters, not which set is in use"),
    (
        Witness::XtermJs,
        "row reverse wrap-around",
        "takes back that a line goes on from the one above; xterm does not",
    ),
    (Witness::XtermJs, "row hyperlink, alternate", "keeps of a saved pen the colours, not the link"),
    (Witness::XtermJs, "row Latin-1 bytes", "drops them"),
    (Witness::XtermJs, "row mouse, the last one counts", "does not know the last one"),
    (Witness::XtermJs, "row DECSTBM, alternate", "has a scroll region for each screen; xterm has one"),
    (
        Witness::XtermJs,
        "row SGR RGB without a colour space",
        "takes the red for a colour space; xterm does not",
    ),
];

/// Whether a witness can't judge a recording.
pub(super) fn is_disputed(witness: Witness, recording: &str) -> bool {
    DISPUTED.iter().any(|(by, part, _)| *by == witness && recording.contains(part))
}

/// The recordings and rows of which something differs still, a line each.
const DIFFERING: &str = include_str!("differing.txt");

/// The recording in `witness | recording | what happened`.
pub(super) fn recording(what: &str) -> &str {
    what.split(" | ").nth(1).unwrap_or(what)
}

/// Whether something of this recording is known to differ.
pub(super) fn differs(what: &str) -> bool {
    DIFFERING.lines().any(|line| line == recording(what))
}
