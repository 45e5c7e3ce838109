use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const A: ClientId = ClientId(1);
const B: ClientId = ClientId(2);

/// Each kind of query with a reply to it.
const PAIRS: [(&str, &str); 100] = [
    ("\x1b[c", "\x1b[?62;22c"),
    ("\x1b[0c", "\x1b[?6c"),
    ("\x1bZ", "\x1b[?1;2c"),
    ("\x1b[>c", "\x1b[>41;354;0c"),
    ("\x1b[>0c", "\x1b[>0;10;1c"),
    ("\x1b[=c", "\x1bP!|00000000\x1b\\"),
    ("\x1b[=0c", "\x1bP!|00000000\x1b\\"),
    ("\x1b[5n", "\x1b[0n"),
    ("\x1b[5n", "\x1b[3n"),
    ("\x1b[6n", "\x1b[24;80R"),
    ("\x1b[6n", "\x1b[1;1R"),
    ("\x1b[6n", "\x1b[1;17R"),
    ("\x1b[6n", "\x1b[1;5R"),
    ("\x1b[?6n", "\x1b[?24;80R"),
    ("\x1b[?6n", "\x1b[?1;5;1R"),
    ("\x1b[?15n", "\x1b[?13n"),
    ("\x1b[?26n", "\x1b[?27;1;0;0n"),
    ("\x1b[?996n", "\x1b[?997;1n"),
    ("\x1b[4$p", "\x1b[4;2$y"),
    ("\x1b[?2026$p", "\x1b[?2026;2$y"),
    ("\x1b[>q", "\x1bP>|XTerm(388)\x1b\\"),
    ("\x1b[>0q", "\x1bP>|kitty(0.40.0)\x1b\\"),
    ("\x1b[?u", "\x1b[?0u"),
    ("\x1b[11t", "\x1b[1t"),
    ("\x1b[11t", "\x1b[2t"),
    ("\x1b[13t", "\x1b[3;10;20t"),
    ("\x1b[14t", "\x1b[4;480;640t"),
    ("\x1b[14;2t", "\x1b[4;480;640t"),
    ("\x1b[15t", "\x1b[5;480;640t"),
    ("\x1b[16t", "\x1b[6;20;10t"),
    ("\x1b[18t", "\x1b[8;24;80t"),
    ("\x1b[19t", "\x1b[9;24;80t"),
    ("\x1b[20t", "\x1b]Licon\x1b\\"),
    ("\x1b[21t", "\x1b]lfenêtre\x1b\\"),
    ("\x1b[x", "\x1b[2;1;1;120;120;1;0x"),
    ("\x1b[1x", "\x1b[3;1;1;120;120;1;0x"),
    ("\x1b[?4m", "\x1b[>4;2m"),
    ("\x1b[?1;1;0S", "\x1b[?1;0;256S"),
    ("\x1b]4;7;?\x07", "\x1b]4;7;rgb:e5e5/e5e5/e5e5\x07"),
    ("\x1b]4;1;red;2;?\x1b\\", "\x1b]4;2;rgb:0000/cdcd/0000\x1b\\"),
    ("\x1b]10;?\x07", "\x1b]10;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]11;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
    ("\x1b]10;red;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
    ("\x1b]12;?\x07", "\x1b]12;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]13;?\x07", "\x1b]13;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]14;?\x07", "\x1b]14;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]15;?\x07", "\x1b]15;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]16;?\x07", "\x1b]16;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]17;?\x07", "\x1b]17;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]18;?\x07", "\x1b]18;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]19;?\x07", "\x1b]19;rgb:ffff/ffff/ffff\x07"),
    ("\x1b]52;c;?\x07", "\x1b]52;c;aGVsbG8=\x07"),
    ("\x1b]52;;?\x1b\\", "\x1b]52;s;\x1b\\"),
    ("\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"),
    ("\x1bP$q\"p\x1b\\", "\x1bP0$r\x1b\\"),
    ("\x1bP+q544e\x1b\\", "\x1bP1+r544e=787465726d\x1b\\"),
    ("\x1bP+q544e\x1b\\", "\x1bP0+r544e\x1b\\"),
    ("\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", "\x1b_Gi=31;OK\x1b\\"),
    ("\x1b_Ga=q,i=1;AAAA\x1b\\", "\x1b_Gi=1;ENOENT:no\x1b\\"),
    ("\x1b_Ga=T,i=9;AAAA\x1b\\", "\x1b_Gi=9;OK\x1b\\"),
    ("\x1b[?53n", "\x1b[?50n"),
    ("\x1b[?2\x18\x1b[6\x1b[5n", "\x1b[0n"),
    ("\x1b[?55n", "\x1b[?53n"),
    ("\x1b[?56n", "\x1b[?57;1n"),
    ("\x1b[?62n", "\x1b[0*{"),
    ("\x1b[?63;7n", "\x1bP7!~0000\x1b\\"),
    ("\x1b[?75n", "\x1b[?70n"),
    ("\x1b[?85n", "\x1b[?83n"),
    ("\x1b[1;1;1;1;2;2*y", "\x1bP1!~1F4D\x1b\\"),
    ("\x1b[?1m", "\x1b[>1;2m"),
    ("\x1b[?4g", "\x1b[>4;1f"),
    ("\x1b[1$w", "\x1bP1$u1;1;1;@;@;@;0;2;@;BBBB\x1b\\"),
    ("\x1b[2$w", "\x1bP2$u9/17\x1b\\"),
    ("\x1b[2$u", "\x1bP2$s0;2;0;0;0\x1b\\"),
    ("\x1b[&u", "\x1bP0!u%5\x1b\\"),
    ("\x1b[\"v", "\x1b[24;80;1;1;1\"w"),
    ("\x1b[#R", "\x1b[?0;0#Q"),
    ("\x1b[#S", "\x1b[0;9#S"),
    ("\x1b[> q", "\x1b[>1;2;3;29;30;40;100;101 q"),
    ("\x1b[>100 q", "\x1b[>100;29:2:3:4 q"),
    ("\x1bP+Q636f6c\x1b\\", "\x1bP1+R636f6c=38\x1b\\"),
    ("\x1bP@kitty-cmd{\"cmd\":\"ls\"}\x1b\\", "\x1bP@kitty-cmd{\"ok\":true}\x1b\\"),
    ("\x1b]5;0;?\x07", "\x1b]5;0;rgb:f/f/f\x07"),
    ("\x1b]21;foreground=?;x=red\x1b\\", "\x1b]21;foreground=#fff\x1b\\"),
    ("\x1b]22;?__current__\x1b\\", "\x1b]22;text\x1b\\"),
    ("\x1b]50;?\x07", "\x1b]50;fixed\x07"),
    ("\x1b]60\x07", "\x1b]60;allowColorOps\x07"),
    ("\x1b]61;allowWindowOps\x07", "\x1b]61;1,2\x07"),
    ("\x1b]99;i=7:p=?;\x1b\\", "\x1b]99;i=7:p=?;p=title,body\x1b\\"),
    ("\x1b]99;i=7:p=alive;\x1b\\", "\x1b]99;i=7:p=alive;a,b\x1b\\"),
    ("\x1b]1337;ReportCellSize\x07", "\x1b]1337;ReportCellSize=20.0;10.0;2.0\x1b\\"),
    ("\x1b]1337;ReportVariable=bmFtZQ==\x07", "\x1b]1337;ReportVariable=eA==\x07"),
    ("\x1b]1337;Capabilities\x1b\\", "\x1b]1337;Capabilities=T3CwU\x1b\\"),
    ("\x1b]5522;type=read;dGV4dC9wbGFpbg==\x1b\\", "\x1b]5522;type=read:status=EPERM\x1b\\"),
    ("\x1b]5522;type=write\x1b\\", "\x1b]5522;type=write:status=DONE\x1b\\"),
    ("\x1b]10;?;?\x18\x1b]12;?\x07", "\x1b]12;rgb:0/0/0\x1b\\"),
    ("\x1b]4;256;?\x07", "\x1b]4;256;rgb:0/0/0\x07"),
    ("\x1b[14;0t", "\x1b[4;1;1t"),
    ("\x1b[?53n", "\x1b[?53n"),
    ("\x1b[?996n", "\x1b[?997;2n"),
];

/// A question whose reply no random input is.
const UNANSWERED: &str = "\x1b[&u";

/// What is typed and is no reply, whatever is outstanding. Shift-F3 is not here: it may be one.
const KEYS: [&str; 49] = [
    "\x1b[A",
    "\x1b[3~",
    "\x1b[97;5u",
    "\x1b[I",
    "\x1b[O",
    "\x1b[<35;10;20M",
    "\x1b[<0;1;1m",
    "\x1b[M !!",
    "\x1b[M\x00\u{7f}~",
    "\x1bx",
    "\x1bOP",
    "\x1bOR",
    "\x1b[R",
    "\x1b[1;5P",
    "\x1b[1;5:3R",
    "\x1b[1;2;3R",
    "\x1b[[A",
    "\x1b[3$",
    "\x1b[3$y",
    "\x1b[3^",
    "\x1b[3@",
    "\x1b[15;2~",
    "\x1b[57399;1:1u",
    "\x1b[13;5u",
    "\x1b[t",
    "\x1b[7;1t",
    "\x1b[1;2n",
    "\x1b[2n",
    "\x1b[c",
    "\x1b[>4",
    "\x1b[?u",
    "\x1b[x",
    "\x1b[17;29;0;1;8;1_",
    "\x1b]0;no",
    "\x1b]20;",
    "\x1bPx",
    "\x1b_H",
    "\x1b^",
    "\x1bX",
    "\x1b\x1b[A",
    "\x1b\x7f",
    "\x1b\t",
    "\x1b[0\x18",
    "\x1b]11;rgb\x18",
    "\x1b]11;rgb\x1a",
    "\x1b[24;8\x1a0R",
    "\x1bP1$r\x03",
    "\x1b[\r",
    "\x1b[27;5;9~",
];

/// A session at a moment, and what its two terminals type, of which A was used last.
struct Watched {
    queries: Queries,
    a: ReplyFilter,
    b: ReplyFilter,
    at: u64,
    now: Instant,
}

const SINCE_START: Shows = Shows::Output { from: 0 };

impl Watched {
    /// Without a model, so that all is asked of terminals.
    fn new() -> Self {
        Self::with(&[B, A], false)
    }

    fn with(terminals: &[ClientId], has_model: bool) -> Self {
        let mut queries = Queries::new(has_model);
        terminals.iter().for_each(|client| queries.joined(*client, client.0, SINCE_START, true));
        Self { queries, a: ReplyFilter::default(), b: ReplyFilter::default(), at: 0, now: Instant::now() }
    }

    /// Prints what all terminals are sent at once.
    fn print(&mut self, output: &str) {
        self.print_unsent(output);
        self.sent();
    }

    fn print_unsent(&mut self, output: &str) {
        self.queries.printed(output.as_bytes(), self.at, self.now);
        self.at += output.len() as u64;
    }

    fn sent(&mut self) {
        self.queries.look(self.now);
        [A, B].into_iter().for_each(|client| self.queries.reached(client, self.at, self.now));
    }

    /// What the model answers to all that it was not asked yet, in order.
    fn model_says(&mut self, answers: &[Option<&str>]) {
        for answer in answers {
            let (at, _) = self.queries.question().unwrap();
            self.queries.model_says(at, answer.map(Into::into), self.now);
        }
    }

    fn a_types(&mut self, input: &str) -> String {
        text(self.a.filter(&mut self.queries, A, input.as_bytes(), self.now).bytes)
    }

    fn b_types(&mut self, input: &str) -> String {
        text(self.b.filter(&mut self.queries, B, input.as_bytes(), self.now).bytes)
    }

    /// What the session itself types.
    fn typed(&mut self) -> String {
        self.queries.look(self.now);
        text(self.queries.take_outbox(self.now))
    }

    fn outstanding(&self) -> usize {
        self.queries.log.iter().filter(|question| !question.is_settled()).count()
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn all_of(typed: &mut ReplyFilter, queries: &mut Queries, parts: &[&[u8]], now: Instant) -> Vec<u8> {
    let mut passed = Vec::new();
    for part in parts {
        passed.extend(typed.filter(queries, A, part, now).bytes);
        assert!(typed.held_len() <= MAX_KEPT);
    }
    passed.extend(typed.flush());
    passed
}

#[test]
fn each_question_is_answered_once_and_by_the_terminal_used_last() {
    for (query, reply) in PAIRS {
        let mut watched = Watched::new();
        watched.print(query);
        assert_eq!(watched.outstanding(), 1, "{query:?}");
        assert_eq!(watched.b_types(reply), "", "{query:?}");
        assert_eq!(watched.a_types(reply), reply, "{query:?}");
        assert!(!watched.b.is_holding());
        assert_eq!(watched.outstanding(), 0, "{query:?}");
        // The other is used.
        watched.b_types("x");
        watched.print(query);
        assert_eq!(watched.a_types(reply), "", "{query:?}");
        assert_eq!(watched.b_types(reply), reply, "{query:?}");
    }
}

#[test]
fn a_reply_answers_no_query_of_another_kind() {
    for (query, _) in PAIRS {
        let mut asked = Watched::new();
        asked.print(query);
        let kind = asked.queries.log[0].kind;
        for (other, reply) in PAIRS {
            let mut another = Watched::new();
            another.print(other);
            if another.queries.log[0].kind == kind || reply == "\x1b[1;5R" {
                continue;
            }
            assert_eq!(asked.a_types(reply), "", "{query:?} {reply:?}");
            assert_eq!(asked.outstanding(), 1);
        }
    }
}

#[test]
fn queries_may_be_split_at_every_byte() {
    for (query, reply) in PAIRS {
        for split in 0..=query.len() {
            let mut watched = Watched::new();
            watched.print(&query[..split]);
            watched.print(&query[split..]);
            assert_eq!(watched.queries.log[0].at, query.len() as u64);
            assert_eq!(watched.outstanding(), 1, "{query:?} at {split}");
            assert_eq!(watched.a_types(reply), reply, "{query:?} at {split}");
        }
    }
}

#[test]
fn replies_may_be_split_at_every_byte() {
    for (query, reply) in PAIRS {
        for split in 0..=reply.len() {
            let (before, after) = reply.as_bytes().split_at(split);
            let mut watched = Watched::new();
            let now = watched.now;
            watched.print(query);
            watched.print("\x1b[>q\x1b[5n");
            let passed = all_of(&mut watched.a, &mut watched.queries, &[before, b"", after], now);
            assert_eq!(text(passed), reply, "at {split}");
            assert_eq!(watched.outstanding(), 2);
            // An answered query is no reason for another reply to pass.
            let mut late = Watched::new();
            late.print("\x1b[?9999$p");
            if query != "\x1b[?2026$p" && reply != "\x1b[1;5R" {
                let passed = all_of(&mut late.a, &mut late.queries, &[before, b"", after], now);
                assert_eq!(text(passed), "", "{reply:?} at {split}");
            }
        }
    }
}

#[test]
fn an_unasked_reply_split_after_its_esc_leaves_only_the_esc() {
    for (_, reply) in PAIRS {
        if reply == "\x1b[1;5R" {
            continue;
        }
        for split in 0..=reply.len() {
            let (before, after) = reply.as_bytes().split_at(split);
            let mut watched = Watched::new();
            let passed = all_of(&mut watched.a, &mut watched.queries, &[before, after], watched.now);
            assert_eq!(text(passed), if split == 1 { "\x1b" } else { "" }, "{reply:?} at {split}");
        }
    }
}

#[test]
fn replies_to_nothing_are_dropped() {
    for (_, reply) in PAIRS {
        let mut watched = Watched::new();
        let passed = watched.a_types(&format!("a{reply}b"));
        assert_eq!(passed, if reply == "\x1b[1;5R" { "a\x1b[1;5Rb" } else { "ab" }, "{reply:?}");
        assert!(!watched.a.is_holding());
    }
}

#[test]
fn a_reply_uses_up_one_query_of_its_kind() {
    let mut watched = Watched::new();
    watched.print("\x1b[5n\x1b[c\x1b[5n");
    assert_eq!(watched.a_types("\x1b[0n\x1b[?6c\x1b[0n\x1b[0n"), "\x1b[0n\x1b[?6c\x1b[0n");
}

#[test]
fn a_string_may_ask_for_many_things() {
    for (query, replies) in [
        ("\x1b]10;?;?\x1b\\", "\x1b]10;rgb:f/f/f\x1b\\\x1b]11;rgb:0/0/0\x1b\\"),
        ("\x1b]4;1;?;2;?\x07", "\x1b]4;1;rgb:1/1/1\x07\x1b]4;2;rgb:2/2/2\x07"),
        ("\x1bP+q544e;436f\x1b\\", "\x1bP1+r544e=78\x1b\\\x1bP1+r436f=38\x1b\\"),
        ("\x1b]19;?;?\x07", "\x1b]19;rgb:f/f/f\x07"),
    ] {
        let mut watched = Watched::new();
        watched.print(query);
        assert_eq!(watched.a_types(replies), replies);
        assert_eq!(watched.a_types(replies), "");
    }
}

#[test]
fn what_only_looks_like_a_query_is_none() {
    for output in [
        "\x1b[1c",
        "\x1b[>1c",
        "\x1b[?1;2c",
        "\x1b[7n",
        "\x1b[6 n",
        "\x1b[u",
        "\x1b[>1u",
        "\x1b[2 q",
        "\x1b[22;0t",
        "\x1b[8;24;80t",
        "\x1b[m",
        "\x1b[>4;2m",
        "\x1b[1;1;2;2$x",
        "\x1b[!p",
        "\x1b[?2026h",
        "\x1b[5\x18n",
        "[6n",
        "\x1b]0;?\x07",
        "\x1b]4;?\x07",
        "\x1b]4;1;red\x07",
        "\x1b]11;red\x07",
        "\x1b]110;?\x07",
        "\x1b]52;c;aGk=\x07",
        "\x1b]52;c\x07",
        "\x1b]10;?\x18",
        "\x1bPq?\x1b\\",
        "\x1bP$qm\x07",
        "\x1bP$tq\x1b\\",
        "\x1b_Ga=T;a=q\x1b\\",
        "\x1b_Gi=1,q=2;\x1b\\",
        "\x1b_Ha=q\x1b\\",
        "\x1bX[6n\x1b\\",
        "\x1b^]10;?\x07\x1b\\",
        "\x1b(c",
        "\x1b[6é6n",
    ] {
        let mut watched = Watched::new();
        watched.print(output);
        assert!(watched.queries.log.is_empty(), "{output:?}");
    }
}

#[test]
fn control_characters_in_a_query_do_not_hide_it() {
    let mut watched = Watched::new();
    watched.print("\x1b\n[\r6\x08n\x1b\x1b[5n\x1bP+q54\n4e\x07\x1b\\");
    assert_eq!(watched.outstanding(), 3);
}

#[test]
fn queries_are_found_wherever_they_stand_in_text() {
    for before in 0..200 {
        let mut watched = Watched::new();
        watched.print(
            &("Z".repeat(before)
                + "\x1b[c"
                + &"y".repeat(70)
                + "\x1b]0;"
                + &"z".repeat(before)
                + "\x07\x1b[6n"),
        );
        assert_eq!(watched.outstanding(), 2, "after {before} bytes");
    }
}

#[test]
fn shift_f3_passes_when_nothing_asks_for_the_cursor() {
    let mut watched = Watched::new();
    watched.print("\x1b[c");
    for modifiers in 2..=16 {
        let key = format!("\x1b[1;{modifiers}R");
        assert_eq!(watched.a_types(&key), key);
        assert_eq!(watched.b_types(&key), key);
    }
    assert_eq!(watched.a_types("\x1b[1;1R\x1b[1;17R\x1b[2;5R"), "");
}

#[test]
fn shift_f3_is_a_reply_while_the_cursor_is_asked_for() {
    let mut watched = Watched::new();
    watched.print("\x1b[6n\x1b[6n");
    for (a, b) in [("\x1b[1;2R", ""), ("\x1b[1;2R", ""), ("\x1b[1;2R", "\x1b[1;2R")] {
        assert_eq!(watched.a_types("\x1b[1;2R"), a);
        assert_eq!(watched.b_types("\x1b[1;2R"), b);
    }
}

#[test]
fn keys_pass_from_anyone_whatever_is_outstanding() {
    for outstanding in ["", "\x1b[c\x1b[5n\x1b[6n\x1b[?u\x1b[4$p\x1b[11t\x1b[18t\x1b[x\x1b[>q\x1b]11;?\x07"] {
        for key in KEYS {
            let mut watched = Watched::new();
            watched.print(outstanding);
            let queries = watched.outstanding();
            for split in 0..=key.len() {
                // A key at the end may yet become something longer, so it may take the flush.
                let (before, after) = key.as_bytes().split_at(split);
                let passed = all_of(&mut watched.a, &mut watched.queries, &[before, after], watched.now);
                assert_eq!(text(passed), key, "at {split}");
            }
            assert_eq!(watched.b_types(&format!("{key}z")), format!("{key}z"));
            assert_eq!(watched.outstanding(), queries);
        }
    }
}

#[test]
fn a_whole_key_is_not_kept_back() {
    for key in [
        "\x1b[A",
        "\x1b[3~",
        "\x1bOP",
        "\x1bx",
        "\x1b[I",
        "\x1b[97;5u",
        "\x1b[<0;1;1M",
        "\x1b[M !!",
        "\x1b[200~",
    ] {
        let mut watched = Watched::new();
        watched.print("\x1b[c");
        assert_eq!(watched.a_types(key), key);
        assert!(!watched.a.is_holding());
    }
}

#[test]
fn a_paste_passes_even_with_replies_inside() {
    for (query, reply) in PAIRS {
        let paste = format!("\x1b[200~\x1b[201{reply}\x1b\x1b[201~");
        for split in 0..=paste.len() {
            let (before, after) = paste.as_bytes().split_at(split);
            let mut watched = Watched::new();
            watched.print(query);
            let mut passed = watched.a.filter(&mut watched.queries, A, before, watched.now).bytes;
            if split >= "\x1b[200~".len() {
                assert!(!watched.a.is_holding());
            }
            passed.extend(watched.a.filter(&mut watched.queries, A, after, watched.now).bytes);
            assert_eq!(passed, paste.as_bytes(), "at {split}");
            assert_eq!(watched.outstanding(), 1);
            // The paste is over.
            assert_eq!(watched.b_types(reply), "");
            assert_eq!(watched.a_types(reply), reply);
        }
    }
}

#[test]
fn the_escape_key_waits_only_while_something_is_outstanding() {
    let mut watched = Watched::new();
    assert_eq!(watched.a_types("\x1b"), "\x1b");
    assert!(!watched.a.is_holding());
    assert_eq!(text(watched.a.flush()), "");
    watched.print("\x1b[c");
    assert_eq!(watched.a_types("\x1b"), "");
    assert!(watched.a.is_holding());
    assert_eq!(text(watched.a.flush()), "\x1b");
    assert!(!watched.a.is_holding());
    assert_eq!(watched.a_types("[?6c"), "[?6c");
    for _ in 0..2 {
        watched.later(ORDER_TIME);
        watched.typed();
    }
    watched.later(ESCAPE_TIME);
    assert_eq!(watched.a_types("\x1b"), "\x1b");
}

#[test]
fn what_follows_the_escape_key_late_is_not_its_rest() {
    let mut watched = Watched::new();
    assert_eq!(watched.a_types("\x1b"), "\x1b");
    watched.later(HOLD_TIME);
    assert_eq!(watched.a_types("["), "[");
    assert_eq!(watched.a_types("0n"), "0n");
    assert_eq!(watched.a_types("\x1b"), "\x1b");
    watched.later(HOLD_TIME / 2);
    assert_eq!(watched.a_types("[0n\x1b"), "\x1b");
    assert_eq!(watched.a_types("\x1b"), "\x1b");
    assert_eq!(watched.a_types("["), "");
    assert_eq!(text(watched.a.flush()), "[");
}

#[test]
fn what_is_flushed_is_typed_and_so_is_what_follows() {
    let mut watched = Watched::new();
    for (before, after) in [("\x1b[24;8", "0R"), ("\x1b]", "11;rgb:f/f/f\x07"), ("\x1b]11;rgb:f", "/f/f\x07")]
    {
        assert_eq!(watched.a_types(before), "");
        assert!(watched.a.is_holding());
        assert_eq!(text(watched.a.flush()), before);
        assert_eq!(watched.a_types(after), after);
    }
}

#[test]
fn a_reply_that_another_sequence_interrupts_passes_as_typed() {
    let mut watched = Watched::new();
    assert_eq!(watched.a_types("\x1b[24;\x1b[A"), "\x1b[24;\x1b[A");
    assert_eq!(watched.a_types("\x1b]11;rgb\x1b[A"), "\x1b]11;rgb\x1b[A");
    assert_eq!(watched.a_types("\x1b]11;rgb\x1b[0n\x1b[0n"), "\x1b]11;rgb");
    assert!(!watched.a.is_holding());
}

#[test]
fn a_control_sequence_too_long_to_keep_passes_as_typed() {
    let mut watched = Watched::new();
    let long = format!("\x1b[{}n", "0;".repeat(MAX_KEPT));
    assert_eq!(watched.a_types(&long[..MAX_KEPT - 1]), "");
    assert_eq!(watched.a.held_len(), MAX_KEPT - 1);
    assert_eq!(watched.a_types(&long[MAX_KEPT - 1..]), long);
}

#[test]
fn a_long_reply_is_decided_by_its_beginning() {
    for end in ["\x07", "\x1b\\"] {
        let reply = format!("\x1b]52;c;{}{end}", "QUJD".repeat(MAX_KEPT));
        for size in [1, 7, MAX_KEPT, reply.len()] {
            let mut watched = Watched::new();
            let now = watched.now;
            let parts: Vec<&[u8]> = reply.as_bytes().chunks(size).collect();
            watched.print("\x1b]52;c;?\x07\x1b[c");
            assert_eq!(text(all_of(&mut watched.a, &mut watched.queries, &parts, now)), reply);
            assert_eq!(watched.outstanding(), 1);
            assert_eq!(text(all_of(&mut watched.a, &mut watched.queries, &parts, now)), "");
            assert_eq!(watched.a_types("ok"), "ok");
        }
    }
}

#[test]
fn any_control_key_leads_out_of_a_long_reply() {
    for way_out in ["\x03", "\x18", "\r", "\x1b[A", "\x1bx"] {
        let mut watched = Watched::new();
        assert_eq!(watched.a_types(&format!("\x1b]52;c;{}", "QUJD".repeat(MAX_KEPT))), "");
        assert!(!watched.a.is_holding());
        assert_eq!(watched.a_types("lost"), "");
        assert_eq!(watched.a_types(way_out), way_out);
        assert_eq!(watched.a_types("found"), "found");
    }
    let mut watched = Watched::new();
    assert_eq!(watched.a_types(&format!("\x1b]52;c;{}\x1b", "QUJD".repeat(MAX_KEPT))), "");
    assert!(watched.a.is_holding());
    assert_eq!(text(watched.a.flush()), "\x1b");
    assert_eq!(watched.a_types("found"), "found");
}

#[test]
fn the_oldest_query_goes_when_too_many_are_outstanding() {
    let mut watched = Watched::new();
    watched.print("\x1b[c");
    watched.print(&"\x1b[5n".repeat(MAX_QUESTIONS - 1));
    assert_eq!(watched.outstanding(), MAX_QUESTIONS);
    watched.print("\x1b[5n");
    assert_eq!(watched.outstanding(), MAX_QUESTIONS);
    assert_eq!(watched.a_types("\x1b[?6c"), "");
    assert_eq!(watched.a_types(&"\x1b[0n".repeat(MAX_QUESTIONS + 1)), "\x1b[0n".repeat(MAX_QUESTIONS));
}

#[test]
fn what_is_kept_of_the_output_is_bounded() {
    for (introducer, end) in
        [("\x1b]10;?;", "\x07"), ("\x1bP$q", "\x1b\\"), ("\x1b[0;", "n"), ("\x1b_G;", "\x1b\\")]
    {
        let mut watched = Watched::new();
        watched.print(introducer);
        for _ in 0..100 {
            watched.print(&"0;".repeat(MAX_KEPT / 20));
        }
        assert!(watched.queries.scanner.kept_len() <= MAX_KEPT + 1);
        watched.print(end);
        watched.print("\x1b[c");
        assert_eq!(watched.outstanding(), 1, "{introducer:?}");
    }
    let mut watched = Watched::new();
    watched.print(&format!("\x1b_Ga=q,i=1;{}\x1b\\", "AAAA".repeat(MAX_KEPT)));
    assert_eq!(watched.a_types("\x1b_Gi=1;OK\x1b\\"), "\x1b_Gi=1;OK\x1b\\");
}

/// Cuts `bytes` wherever `cuts` say, which are taken modulo its length.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A piece of input, and what of it may pass.
fn piece() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let plain = vec(any::<u8>().prop_filter("no escape", |byte| *byte != ESC), 0..20);
    let is_dropped = |(query, reply): &(&str, &str)| *reply != "\x1b[1;5R" && *query != UNANSWERED;
    let reply = select(PAIRS.to_vec()).prop_filter("a key", is_dropped);
    prop_oneof![
        plain.prop_map(|bytes| (bytes.clone(), bytes)),
        // A key that has not ended would go on in the next piece.
        select(KEYS.to_vec()).prop_map(|key| (format!("{key}\r").into(), format!("{key}\r").into())),
        vec(any::<u8>(), 0..30).prop_map(|inside| {
            let paste = [b"\x1b[200~", &inside[..], b"\x1b[201~"].concat();
            (paste.clone(), paste)
        }),
        reply.prop_map(|(_, reply)| (reply.into(), Vec::new())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_without_escapes_passes_unchanged(bytes: Vec<u8>, cuts: Vec<usize>, asked: bool) {
        let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != ESC).collect();
        let mut watched = Watched::new();
        watched.print(if asked { "\x1b[c" } else { "" });
        let mut passed = Vec::new();
        for part in cut(&bytes, &cuts) {
            passed.extend(watched.a.filter(&mut watched.queries, A, part, watched.now).bytes);
            prop_assert!(!watched.a.is_holding());
        }
        prop_assert_eq!(passed, bytes);
    }

    #[test]
    fn all_but_replies_passes_unchanged(pieces in vec(piece(), 0..12), cuts in vec(any::<usize>(), 0..12)) {
        let input: Vec<u8> = pieces.iter().flat_map(|(input, _)| input.clone()).collect();
        let expected: Vec<u8> = pieces.iter().flat_map(|(_, passes)| passes.clone()).collect();
        let mut watched = Watched::new();
        // Asked of the other terminal, so that an ESC at a cut is kept and no reply is this one's to give.
        watched.b_types("x");
        watched.print(UNANSWERED);
        let passed = all_of(&mut watched.a, &mut watched.queries, &cut(&input, &cuts), watched.now);
        prop_assert_eq!(passed, expected);
    }

    #[test]
    fn where_input_is_cut_does_not_matter(
        input in vec(select(b"\x1b\x1b\x1b[[]P_O0124;;?>$!|+rnRcuGMl~\\\x07\x18\x1a 8".to_vec()), 0..60),
        cuts in vec(any::<usize>(), 0..12),
    ) {
        let passed = |parts: &[&[u8]]| {
            let mut watched = Watched::new();
            watched.print(&format!("\x1b[>q\x1b[5n\x1b[6n{UNANSWERED}"));
            all_of(&mut watched.a, &mut watched.queries, parts, watched.now)
        };
        prop_assert_eq!(passed(&cut(&input, &cuts)), passed(&[&input]));
    }

    #[test]
    fn where_output_is_cut_does_not_matter(
        output in vec(select(b"\x1b\x1b\x1b[[]P_10456;;?>=$qnctuxG+a\\\x07\x18\n".to_vec()), 0..60),
        cuts in vec(any::<usize>(), 0..12),
    ) {
        let noted = |parts: &[&[u8]]| {
            let mut watched = Watched::new();
            for part in parts {
                watched.queries.printed(part, watched.at, watched.now);
                watched.at += part.len() as u64;
            }
            let noted = |question: &Question| (question.kind, question.at, question.bytes.clone());
            watched.queries.log.iter().map(noted).collect::<Vec<_>>()
        };
        prop_assert_eq!(noted(&cut(&output, &cuts)), noted(&[&output]));
    }
}

mod order;
mod people;
