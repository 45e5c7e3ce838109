//! What a program finds of the terminal that its session was started from.

use std::os::fd::AsFd;

use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::*;

/// Sets a terminal up, starts a session there that says what its own is like, and waits for that.
fn says(setting_up: &str) -> String {
    let home = Home::new();
    let script = format!(
        "{setting_up}; exec fugue-server new a -- sh -c 'stty -a; echo \"<$COLUMNS:$LINES>\"; \
         echo end; exec cat'"
    );
    let terminal = home.shell_terminal(&script);
    let said = terminal.wait_until("the end", |shown| shown.text().contains("\nend").then(|| shown.text()));
    // Wherever lines end.
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_starters_settings_are_handed_on_without_its_size() {
    let said = says("stty iutf8 erase '^H' intr '^Y' -ixon tostop; export COLUMNS=60 LINES=7");
    for setting in [" iutf8", "erase = ^H;", "intr = ^Y;", "-ixon", " tostop", "<:>", "columns 80"] {
        assert!(said.contains(setting), "{setting} is not in\n{said}");
    }
    let said = says("stty -iutf8 erase '^?' ixon");
    for setting in ["-iutf8", "erase = ^?;", " ixon"] {
        assert!(said.contains(setting), "{setting} is not in\n{said}");
    }
}

#[test]
fn a_terminal_that_a_program_made_raw_makes_no_raw_session() {
    let said = says("stty raw -echo erase '^H'");
    for setting in [" icanon", " isig", " echo ", " opost", " onlcr", " icrnl", "erase = ^H;"] {
        assert!(said.contains(setting), "{setting} is not in\n{said}");
    }
}

#[test]
fn a_session_that_is_started_from_no_terminal_is_of_utf8() {
    let home = Home::new();
    let said = home.succeed(&["new", "a", "--", "stty", "-a"]);
    assert!(said.contains(" iutf8") && said.contains(" icanon"), "{said}");
}

#[test]
fn a_terminal_that_is_too_large_gives_a_session_of_the_largest_size() {
    let home = Home::new();
    let terminal = home.terminal_of(50, 1200, &["new", "a", "--", "sh", "-c", "stty size; exec cat"]);
    terminal.wait_for("50 1000");
    assert_eq!(home.session("a")["size"], "1000x50");
    terminal.resize(2000, 70);
    eventually("the session has the size", || home.session("a")["size"] == "70x1000");
}

/// The terminal of the one program of a session.
fn terminal_of(home: &Home, name: &str) -> std::fs::File {
    let pid = home.session(name)["pid"].as_u64().unwrap();
    std::fs::File::open(format!("/proc/{pid}/fd/0")).unwrap()
}

#[test]
fn a_session_has_the_pixels_of_its_starters_terminal_and_of_its_new_sizes() {
    let home = Home::new();
    let terminal = home.terminal(&["new", "a", "--", "sh", "-c", "echo started; exec cat"]);
    let resize = |ws_col, ws_row, ws_xpixel, ws_ypixel| {
        tcsetwinsize(&*terminal.pty, Winsize { ws_row, ws_col, ws_xpixel, ws_ypixel }).unwrap();
    };
    let size = |of: &dyn AsFd| {
        let Winsize { ws_row, ws_col, ws_xpixel, ws_ypixel } = tcgetwinsize(of.as_fd()).unwrap();
        (ws_col, ws_row, ws_xpixel, ws_ypixel)
    };
    terminal.wait_for("started");
    let session = terminal_of(&home, "a");
    resize(100, 30, 1600, 900);
    eventually("the session has both sizes", || size(&session) == (100, 30, 1600, 900));
    // Another font, in a window as large in cells.
    resize(100, 30, 800, 450);
    eventually("the session has the pixels", || size(&session) == (100, 30, 800, 450));
    // A session of a size of its own has cells as large as here.
    let fixed = "exec fugue-server new b --size 50x20 -- sh -c 'echo started; exec cat'";
    let other = home.shell_terminal(&format!("read go; {fixed}"));
    tcsetwinsize(&*other.pty, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 800, ws_ypixel: 480 }).unwrap();
    other.type_in("\n");
    other.wait_for("started");
    eventually("the session has the pixels", || size(&terminal_of(&home, "b")) == (50, 20, 500, 400));
}
